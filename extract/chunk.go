package extract

import (
	"errors"
	"io"
)

// chunkSize is about how many bytes a chunk holds. A chunk ends where a
// record ends, so it holds more when a record is longer.
const chunkSize = 1 << 20

// Chunk is a run of whole records of one file. It is filled by a ChunkReader
// and read by a Scanner; its buffers are used again when it is given back to
// Next, so a record lives only until then.
type Chunk struct {
	Index int // 0-based over the whole extract

	file  *File
	data  []byte
	line  int64    // of the first byte of data
	items []item   // what the reader has told apart itself; data is not looked at besides
	urls  fullURLs // of the Bundle that data comes from
	limit int      // of a record's size
}

// File is the file that the chunk comes from.
func (c *Chunk) File() *File { return c.file }

// Size is the number of bytes of input in the chunk.
func (c *Chunk) Size() int { return len(c.data) }

// item is a piece of a chunk that is not simply a line or row: a resource or
// an entry of a Bundle, or a record that cannot be read at all.
type item struct {
	start, end int
	line       int64
	entry      int // 0: the bytes are the resource itself
	dataset    string
	reject     Reason
	detail     string
}

// ChunkReader reads the files of an extract one after the other and cuts them
// into chunks. The same bytes give the same chunks in every pass. It holds
// one chunk and one record's rest at a time, whatever the size of the files.
// It is not safe for concurrent use.
type ChunkReader struct {
	files  []File
	limits limits
	index  int
	in     *input
	cut    cutter
	sums   []FileSum
	err    error
}

const tooLong = "record over the size limit"

// limits are fields so that tests can make them small.
type limits struct{ chunk, record, bundle int }

// cutter fills chunks from one file; io.EOF when the file is at its end.
type cutter interface {
	next(c *Chunk) error
}

// OpenChunks begins to read files in their order.
func OpenChunks(files []File) *ChunkReader {
	return &ChunkReader{files: files, limits: limits{chunkSize, MaxRecord, MaxBundle}}
}

// Next fills c with the next chunk; io.EOF when there is none. A *FileError
// means that a file as a whole cannot be used; after any error Next repeats it.
func (r *ChunkReader) Next(c *Chunk) error {
	for r.err == nil {
		if r.in == nil {
			if r.err = r.open(); r.err != nil {
				break
			}
		}
		file := &r.files[len(r.sums)]
		c.Index, c.file, c.data, c.items, c.urls, c.line = r.index, file, c.data[:0], c.items[:0], nil, 0
		c.limit = r.limits.record
		err := r.cut.next(c)
		if err == nil {
			r.index++
			return nil
		}
		if errors.Is(err, io.EOF) {
			err = r.finish(file)
		}
		r.err = err
	}
	return r.err
}

func (r *ChunkReader) open() error {
	if len(r.sums) == len(r.files) {
		return io.EOF
	}
	file := &r.files[len(r.sums)]
	in, err := openInput(file)
	if err != nil {
		return err
	}
	r.in = in
	switch file.Rule.Format {
	case FHIRJSON:
		r.cut, err = newBundleCutter(file, in, r.limits)
	case Delimited:
		r.cut, err = newRowCutter(file, in, r.limits)
	default:
		r.cut = &lineCutter{file: file, r: in, limits: r.limits, line: 1}
	}
	return err
}

func (r *ChunkReader) finish(file *File) error {
	sum, err := r.in.finish()
	r.in = nil
	if err != nil {
		return err
	}
	r.sums = append(r.sums, FileSum{Name: file.Name, SHA256: sum, Size: file.Size})
	return nil
}

// Sums gives the fingerprints of the files that were read to their end.
func (r *ChunkReader) Sums() []FileSum { return r.sums }

// Close closes the file that is open.
func (r *ChunkReader) Close() error {
	if r.in == nil {
		return nil
	}
	in := r.in
	r.in = nil
	if r.err == nil {
		r.err = errors.New("reading chunks: closed")
	}
	return in.Close()
}

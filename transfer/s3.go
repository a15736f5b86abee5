package transfer

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"
)

// S3Keys are an account's of an S3-compatible store.
type S3Keys struct {
	Region, AccessKey, SecretKey string
}

// The payload is not signed: TLS guards it on its way, and what was stored is
// compared with what was sealed.
const unsigned = "UNSIGNED-PAYLOAD"

// sign signs a request as AWS has it (Signature Version 4, "Create a signed AWS
// API request"): host, time and the mark of an unsigned payload.
func (k *S3Keys) sign(r *http.Request, now time.Time) {
	stamp := now.UTC().Format("20060102T150405Z")
	day := stamp[:8]
	r.Header.Set("X-Amz-Date", stamp)
	r.Header.Set("X-Amz-Content-Sha256", unsigned)
	const signed = "host;x-amz-content-sha256;x-amz-date"
	request := strings.Join([]string{
		r.Method, r.URL.EscapedPath(), r.URL.RawQuery,
		"host:" + r.URL.Host, "x-amz-content-sha256:" + unsigned, "x-amz-date:" + stamp, "",
		signed, unsigned,
	}, "\n")
	scope := day + "/" + k.Region + "/s3/aws4_request"
	text := "AWS4-HMAC-SHA256\n" + stamp + "\n" + scope + "\n" + sumOf([]byte(request))
	key := []byte("AWS4" + k.SecretKey)
	for _, part := range []string{day, k.Region, "s3", "aws4_request", text} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+k.AccessKey+"/"+scope+", SignedHeaders="+signed+", Signature="+hex.EncodeToString(key))
}

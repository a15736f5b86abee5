// Command stage builds the demo's clinic at any size and keeps its recipients'
// SFTP servers up until its standard input ends, so that a script can measure
// the real `postern` on it. It is for measuring only; it is no part of the
// product.
//
//	stage DIR SCORES   # SCORES 0: the demo's own clinic
//
// It promises equal extracts for equal numbers, and prints one line when the
// servers are up: patients, records and rows, bytes, and the port and host key
// of each recipient's server.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/hashicorp/go-hclog"

	"github.com/posternhealth/postern/agent/demo"
	"github.com/posternhealth/postern/internal/synthetic"
)

func main() {
	if err := stage(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "stage:", err)
		os.Exit(1)
	}
}

func stage(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: stage DIR SCORES")
	}
	scores, err := strconv.Atoi(args[1])
	if err != nil {
		return fmt.Errorf("SCORES is no number; give how many scores the clinic has taken")
	}
	w, err := demo.New(context.Background(), args[0], synthetic.Options{Records: scores, Mess: true}, hclog.NewNullLogger())
	if err != nil {
		return err
	}
	fmt.Printf("patients %d records %d bytes %d\n", w.Summary.Patients, w.Summary.InExtract(), w.Summary.Bytes)
	for _, r := range w.Recipients {
		fmt.Printf("server %s port %s key %s\n", r.Name, r.Port, r.HostKey)
	}
	fmt.Println("ready")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return w.Close()
}

package agent

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// A lease excludes other jobs of the same process too. One that an earlier
// process left which had our number, as number 1 of a container has, is free.
func TestLeaseIsOfOneProcess(t *testing.T) {
	ctx := context.Background()
	db, err := openDatabase(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	first, err := takeLease(ctx, db, "x", leaseOwner(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := takeLease(ctx, db, "x", leaseOwner(), time.Now); ExitCode(err) != int(Locked) {
		t.Fatalf("another job of this process has the lease too: %v", err)
	}
	first.Release()
	earlier := strings.Replace(leaseOwner(), fmt.Sprintf("instance %x", instance), "instance 0", 1)
	if !strings.HasPrefix(earlier, fmt.Sprintf("process %d on ", os.Getpid())) || earlier == leaseOwner() {
		t.Fatalf("owner is %q", leaseOwner())
	}
	left, err := takeLease(ctx, db, "x", earlier, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer left.Release()
	second, err := takeLease(ctx, db, "x", leaseOwner(), time.Now)
	if err != nil {
		t.Fatalf("waiting for a process that is gone: %v", err)
	}
	second.Release()
}

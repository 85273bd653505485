package labtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"ulvs/test/lab"
)

// Main is the TestMain of a package that runs ulvs in labs: it serves as the labs' helper where it is asked to, or else
// runs the tests as Run does, and exits.
func Main(m *testing.M, binary *string) {
	lab.RunHelper()
	os.Exit(Run(m, binary))
}

// Run builds ulvs into a folder of its own, says in binary where it is, runs the tests, and removes it. It returns
// what os.Exit takes. ULVS_TEST_BINARY is a ulvs that was built from these sources already.
func Run(m *testing.M, binary *string) int {
	if *binary = os.Getenv("ULVS_TEST_BINARY"); *binary != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "ulvs-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	*binary = filepath.Join(dir, "ulvs")
	build := exec.Command("go", "build", "-o", *binary, "ulvs/cmd/ulvs")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build ulvs: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

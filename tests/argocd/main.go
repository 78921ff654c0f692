// Command argocd-rig is a real Argo CD control plane in one binary, for tests.
//
// Called by the name of an upstream program (through a symlink, or with that name as first argument) it is that
// program, unchanged: etcd, kube-apiserver, argocd-server, the argocd CLI and so on. Called with one of our own
// commands it starts all of them together, plays the kubelet, or prints facts about the API.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"syncgate.dev/tests/argocd/check"
	"syncgate.dev/tests/argocd/facts"
	"syncgate.dev/tests/argocd/kubelet"
	"syncgate.dev/tests/argocd/programs"
	"syncgate.dev/tests/argocd/up"
)

const usage = `usage: argocd-rig COMMAND [flags]

  up      start a control plane, print one line of JSON, stay until SIGTERM
  check   start a control plane, try what it promises with the stock CLI, stop it
  facts   print every API method and message of the pinned Argo CD as JSON
  names   print the names of the programs inside, one per line

or the name of a program inside: %s
Flags of a command: argocd-rig COMMAND --help
`

// commands are ours; each gets the arguments after its name and returns the exit code.
var commands = map[string]func(args []string) int{
	"up":         up.Main,
	"check":      check.Main,
	"facts":      facts.Main,
	kubelet.Name: kubelet.Main,
	"names":      names,
}

func main() {
	if run, ok := programs.ByName(filepath.Base(os.Args[0])); ok {
		os.Exit(run())
	}
	if len(os.Args) < 2 {
		fmt.Fprintf(os.Stderr, usage, strings.Join(programs.Names(), ", "))
		os.Exit(2)
	}
	name := os.Args[1]
	if run, ok := commands[name]; ok {
		os.Exit(run(os.Args[2:]))
	}
	if run, ok := programs.ByName(name); ok {
		os.Args = os.Args[1:]
		os.Exit(run())
	}
	fmt.Fprintf(os.Stderr, "argocd-rig: there is no command or program %q\n\n", name)
	fmt.Fprintf(os.Stderr, usage, strings.Join(programs.Names(), ", "))
	os.Exit(2)
}

func names([]string) int {
	for _, name := range programs.Names() {
		fmt.Println(name)
	}
	return 0
}

// Argo CD: the server, its helpers and the stock CLI, started as cmd/main.go of Argo CD starts them.

package programs

import (
	"errors"
	"os"
	"os/exec"

	controller "github.com/argoproj/argo-cd/v3/cmd/argocd-application-controller/commands"
	applicationset "github.com/argoproj/argo-cd/v3/cmd/argocd-applicationset-controller/commands"
	reposerver "github.com/argoproj/argo-cd/v3/cmd/argocd-repo-server/commands"
	server "github.com/argoproj/argo-cd/v3/cmd/argocd-server/commands"
	cli "github.com/argoproj/argo-cd/v3/cmd/argocd/commands"
	"github.com/argoproj/argo-cd/v3/util/grpc"
	"github.com/argoproj/argo-cd/v3/util/log"
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
)

func argocdServer() int                   { return runArgocd(server.NewCommand(), false) }
func argocdRepoServer() int               { return runArgocd(reposerver.NewCommand(), false) }
func argocdApplicationController() int    { return runArgocd(controller.NewCommand(), false) }
func argocdApplicationSetController() int { return runArgocd(applicationset.NewCommand(), false) }
func argocdCLI() int                      { return runArgocd(cli.NewCommand(), true) }

func runArgocd(command *cobra.Command, isCLI bool) int {
	klog.SetLogger(log.NewLogrusLogger(log.NewWithCurrentConfig()))
	grpc.DisableSRVLookups()
	// The CLI prints its errors itself, after it has looked for a plugin of that name.
	command.SilenceErrors = isCLI
	command.SilenceUsage = isCLI

	err := command.Execute()
	if err == nil {
		return 0
	}
	message, err := cli.NewDefaultPluginHandler().HandleCommandExecutionError(err, isCLI, os.Args)
	if err == nil {
		return 0
	}
	os.Stdout.WriteString(message)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return 1
}

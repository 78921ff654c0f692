// miniredis: the Redis that Argo CD caches in.

package programs

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
)

func redis() int {
	flags := flag.NewFlagSet("miniredis", flag.ExitOnError)
	listen := flags.String("listen", "127.0.0.1:6379", "address to listen on")
	_ = flags.Parse(os.Args[1:]) // ExitOnError

	server := miniredis.NewMiniRedis()
	if err := server.StartAddr(*listen); err != nil {
		fmt.Fprintln(os.Stderr, "miniredis:", err)
		return 1
	}
	defer server.Close()
	fmt.Fprintln(os.Stderr, "miniredis: listening on", server.Addr())

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	// miniredis has no clock of its own: entries expire only by being told how much time went by.
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			server.FastForward(time.Second)
		case <-stop:
			return 0
		}
	}
}

// Worker is a thumbnail service with a C and C++ algorithm module, and with a fault of your choice.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	log.SetPrefix("worker: ")
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		log.Print(err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("worker", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:0", "`address` to serve on, or fd:N for a socket that was handed down")
	scenario := flags.String("scenario", "clean", "the faults, separated by commas")
	list := flags.Bool("list", false, "print the names of the scenarios that this build has, and end")
	life := flags.Duration("life", 2*time.Hour, "end after this long at the latest")
	w := &worker{}
	flags.IntVar(&w.churn, "churn", 4, "how often over a picture is blurred: some 130 short-lived C blocks each")
	flags.StringVar(&w.plugin, "plugin", besideMe("libwatermark.so"), "`file` of the watermark library")
	flags.DurationVar(&w.eventDelay, "event-delay", 3*time.Second, "from the first picture to the scenario's event")
	flags.DurationVar(&w.gcEvery, "gc-every", 0, "collect this often, and hardly ever otherwise (0: as the scenario has it)")
	flags.IntVar(&w.burstMiB, "burst-mib", 256, "size of the burst of scenario go-burst")
	flags.BoolVar(&w.burstGC, "burst-gc", true, "collect the burst as soon as it is dropped, not at Go's next turn")
	flags.IntVar(&w.dieAtMiB, "die-at-mib", 120, "RSS at which scenario restart dies")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *list {
		fmt.Println(strings.Join(scenarioNames(), "\n"))
		return nil
	}
	if err := w.choose(strings.Split(*scenario, ",")); err != nil {
		return err
	}
	socket, err := open(*listen)
	if err != nil {
		return err
	}
	fmt.Printf("listening %s\n", socket.Addr())

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *life)
	defer cancel()
	w.start(ctx)
	server := &http.Server{Handler: w.routes(), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(socket) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	ending, cancelEnding := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancelEnding()
	return server.Shutdown(ending)
}

func open(address string) (net.Listener, error) {
	number, handedDown := strings.CutPrefix(address, "fd:")
	if !handedDown {
		return net.Listen("tcp", address)
	}
	fd, err := strconv.Atoi(number)
	if err != nil {
		return nil, fmt.Errorf("-listen %s: %w", address, err)
	}
	file := os.NewFile(uintptr(fd), address)
	defer file.Close()
	return net.FileListener(file)
}

func besideMe(name string) string {
	me, err := os.Executable()
	if err != nil {
		return name
	}
	return filepath.Join(filepath.Dir(me), name)
}

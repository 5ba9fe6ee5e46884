// Supervisor starts a worker anew whenever it dies, and keeps its socket open meanwhile.
//
// It listens itself and hands the socket down as file descriptor 3, so that the address stays the same over all restarts. Its standard
// output has a line for each thing that happens: "listening ADDRESS", "started PID", "ended PID STATE".
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("supervisor: ")
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		log.Print(err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("supervisor", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:0", "`address` for the worker to serve on")
	backoff := flags.Duration("backoff", 500*time.Millisecond, "from the end of a worker to the start of the next")
	restarts := flags.Int("max-restarts", 1000, "give up after so many")
	life := flags.Duration("life", 2*time.Hour, "end after this long at the latest")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "supervisor [flags] -- WORKER [its flags; -listen fd:3 is added]")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return errors.New("no worker to start; try -help")
	}
	// The worker is to end with us, and the kernel takes "us" to be the thread that started it.
	runtime.LockOSThread()
	socket, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	file, err := socket.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	fmt.Printf("listening %s\n", socket.Addr())

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *life)
	defer cancel()
	for i := 0; i <= *restarts; i++ {
		if err := one(ctx, flags.Args(), file); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(*backoff):
		}
	}
	return fmt.Errorf("gave up after %d restarts", *restarts)
}

// one runs one worker to its end. How it ended is no error of ours.
func one(ctx context.Context, command []string, socket *os.File) error {
	worker := exec.CommandContext(ctx, command[0], append(command[1:len(command):len(command)], "-listen", "fd:3")...)
	worker.Cancel = func() error { return worker.Process.Signal(syscall.SIGTERM) }
	worker.WaitDelay = 10 * time.Second
	worker.ExtraFiles = []*os.File{socket}
	worker.Stderr = os.Stderr
	worker.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := worker.Start(); err != nil {
		return err
	}
	fmt.Printf("started %d\n", worker.Process.Pid)
	var exit *exec.ExitError
	if err := worker.Wait(); err != nil && !errors.As(err, &exit) && ctx.Err() == nil {
		return err
	}
	fmt.Printf("ended %d %s\n", worker.Process.Pid, worker.ProcessState)
	return nil
}

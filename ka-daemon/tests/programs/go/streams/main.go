// streams holds long-lived streams that are idle most of the time, as gRPC streams are.
//
//	streams serve ADDRESS                         reads, and sends nothing; prints "listening ADDRESS" first
//	streams dial ADDRESS COUNT KEEPALIVE EVERY    so many streams, each with a message every EVERY; a stream
//	                                              that is lost is made anew; prints "connected" first
//
// KEEPALIVE is net.Dialer's: how long a stream is idle before it is probed, below 0: keepalive is off.
// The server does not probe. Either ends when its standard input closes.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"
)

func main() {
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "serve":
		err = serve(os.Args[2])
	case len(os.Args) == 6 && os.Args[1] == "dial":
		err = dial(os.Args[2], os.Args[3], os.Args[4], os.Args[5])
	default:
		err = fmt.Errorf("usage: streams serve ADDRESS | dial ADDRESS COUNT KEEPALIVE EVERY")
	}
	if err != nil {
		fail(err)
	}
	io.Copy(io.Discard, os.Stdin)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func serve(address string) error {
	config := net.ListenConfig{KeepAlive: -1}
	listener, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("listening", listener.Addr())
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				fail(err)
			}
			go io.Copy(io.Discard, conn)
		}
	}()
	return nil
}

func dial(address, count, keepalive, every string) error {
	streams, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	idle, err := time.ParseDuration(keepalive)
	if err != nil {
		return err
	}
	pause, err := time.ParseDuration(every)
	if err != nil {
		return err
	}
	dialer := net.Dialer{KeepAlive: idle}
	for ; streams > 0; streams-- {
		conn, err := dialer.Dial("tcp", address)
		if err != nil {
			return err
		}
		go stream(&dialer, address, conn, pause)
	}
	fmt.Println("connected")
	return nil
}

// stream sends now and then, and begins anew whenever its connection is lost.
func stream(dialer *net.Dialer, address string, conn net.Conn, pause time.Duration) {
	for {
		use(conn, pause)
		conn.Close()
		var err error
		if conn, err = dialer.Dial("tcp", address); err != nil {
			fail(err)
		}
	}
}

// use returns when the connection is lost.
func use(conn net.Conn, pause time.Duration) {
	lost := make(chan struct{})
	go func() {
		io.Copy(io.Discard, conn)
		close(lost)
	}()
	for {
		select {
		case <-lost:
			return
		case <-time.After(pause):
			// What fails is told by the reader.
			conn.Write([]byte("message"))
		}
	}
}

// keepalive holds one TCP connection open with Go's default keepalive, as most Go programs do.
//
//	keepalive listen ADDRESS   accepts one connection, prints "listening ADDRESS" first
//	keepalive dial ADDRESS     connects, prints "connected"
//	keepalive serve ADDRESS    serves HTTP as http.Server does by default, prints "listening ADDRESS"
//	keepalive get ADDRESS      asks it with http.DefaultClient, prints "answered", keeps the connection
//
// Either end stays until its standard input closes.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: keepalive listen|dial|serve|get ADDRESS")
		os.Exit(2)
	}
	closer, err := start(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer closer.Close()
	io.Copy(io.Discard, os.Stdin)
}

func start(mode, address string) (io.Closer, error) {
	switch mode {
	case "serve":
		return serve(address)
	case "get":
		return get(address)
	}
	conn, err := open(mode, address)
	if err == nil {
		fmt.Println("connected")
	}
	return conn, err
}

func serve(address string) (io.Closer, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	fmt.Println("listening", listener.Addr())
	server := &http.Server{}
	go server.Serve(listener)
	return server, nil
}

func get(address string) (io.Closer, error) {
	answer, err := http.Get("http://" + address + "/")
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return nil, err
	}
	fmt.Println("answered")
	return io.NopCloser(nil), nil
}

func open(mode, address string) (net.Conn, error) {
	if mode == "dial" {
		return net.Dial("tcp", address)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	fmt.Println("listening", listener.Addr())
	return listener.Accept()
}

// keepalive holds one TCP connection open with Go's default keepalive, as most Go programs do.
//
//	keepalive listen ADDRESS   accepts one connection, prints "listening ADDRESS" first
//	keepalive dial ADDRESS     connects, prints "connected"
//
// Either end stays until its standard input closes.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: keepalive listen|dial ADDRESS")
		os.Exit(2)
	}
	conn, err := open(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer conn.Close()
	fmt.Println("connected")
	io.Copy(io.Discard, os.Stdin)
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

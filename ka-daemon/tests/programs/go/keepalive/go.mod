module ka.test/keepalive

go 1.19

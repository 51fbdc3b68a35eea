module ka.test/streams

go 1.19

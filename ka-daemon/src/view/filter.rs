//! Which sockets are asked for, by the API's parameters and by the options of `ka-daemon sockets`.

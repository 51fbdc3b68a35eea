//! Every TCP socket of the node, whether or not its timer ever fired: read by BPF iterators in each
//! network namespace. Joins the data path at the table.

pub mod source;

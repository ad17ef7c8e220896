//! The side of the clients: Streamable HTTP and stdio.

//! Connections: TLS, HTTP/1.1 and HTTP/2, and the identity in a client's certificate.

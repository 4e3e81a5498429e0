//! What a cluster holds before anybody has asked for anything: namespaces, default roles, the API server's own Service.

//! authwebhook

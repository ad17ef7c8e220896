//! The Model Context Protocol: versions, methods, headers, errors.

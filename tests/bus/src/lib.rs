//! Tests of agentd on a bus of their own, with callers of several users. This library is empty: the
//! package is its tests, in `tests/bus/`, one program so that it is linked once, and `connect-as`,
//! which makes a connection that is another user's.

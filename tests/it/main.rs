//! Tests from outside: the real proxy on real sockets, against the embedded OSS or an upstream that follows a script.

mod addressing;
mod admin;
mod altered;
mod bad_input;
mod bodies;
mod commands;
mod dialling;
mod echo;
mod guard;
mod h2;
mod keys;
mod layers;
mod library;
mod limits;
mod listeners;
mod logs;
mod matrix;
mod presign;
mod properties;
mod replay;
mod roles;
mod rotation;
mod secrets;
mod smuggling;
mod support;
mod upstream;

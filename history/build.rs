//! Makes cargo notice a migration that was added: the macro that embeds them only sees known files.

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}

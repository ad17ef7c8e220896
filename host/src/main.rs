//! The `lockgate` program. Everything it does is in the library, under `cli`.

fn main() -> std::process::ExitCode {
    lockgate::cli::run()
}

//! What a contributor runs: `cargo xtask demo`, `test`, `build-plugins`, `bench`, `soak`, `wit-check`.

mod bench;
mod demo;
mod plugins;
mod soak;
mod steps;
mod test;
mod wit;

use std::process::ExitCode;

const HELP: &str = "\
Usage: cargo xtask <command>

  demo [ARGS]      build everything and serve configs/demo.yaml; ARGS go to `lockgate serve`
  test [ARGS]      build what the tests need and run all of them; ARGS go to `cargo test`
  build-plugins    build the plugins and the guests of the tests into target/plugins
  bench            run the benchmarks and the measurements of docs/performance.md
  soak [NAME]      run the long forms of the tests that have one, or of those named
  wit-check        check the contract in wit/ and its copies
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next();
    let rest: Vec<String> = args.collect();
    let done = match command.as_deref() {
        Some("demo") => demo::run(&rest),
        Some("test") => test::run(&rest),
        Some("build-plugins") => plugins::build_all().map(|()| ExitCode::SUCCESS),
        Some("bench") => bench::run(&rest),
        Some("soak") => soak::run(&rest),
        Some("wit-check") => wit::check().map(|()| ExitCode::SUCCESS),
        None | Some("help" | "--help" | "-h") => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        Some(other) => {
            eprint!("There is no command `{other}`.\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}

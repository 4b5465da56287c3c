# What people do with this project; `just` alone lists it.

set shell := ["bash", "-uc"]

_list:
    @just --list

# The main job: real data between two processes, beside a kernel pipe.
demo *FILES:
    cargo run --release --locked -p ppipe-cli -- demo {{ FILES }}

# All tests, as the README has it.
test:
    cargo test --workspace --locked

# Breaks the algorithm and the pipe in every listed way and sees which tests notice: some five minutes.
mutants:
    cargo run --locked -p loom-tests --bin mutants

# Random programs on pipes of the kernel and on ours: 10 million steps, ten to twenty minutes. `just differ --seed N` goes on there.
differ *ARGS:
    cargo run --release --locked -p differ -- {{ ARGS }}

# The C library with its header, manual pages and pkg-config file, into a folder.
install-c PREFIX="/usr/local":
    cargo build --release --locked -p ppipe-capi
    crates/ppipe-capi/install {{ PREFIX }}

# Kills of real processes under load, 10,000 (and a third more in silence) if not said otherwise; two to three minutes. `SEED=... just kill` repeats a run.
kill KILLS="10000":
    PPIPE_KILLS={{ KILLS }} PPIPE_SEED=${SEED:-$RANDOM} cargo test --locked -p storm --test kill -- --nocapture

# Signals at a process that makes, fills and grows pipes where there is no room; a minute. `PPIPE_SEED=... just signals` repeats a run.
signals SIGNALS="100000":
    PPIPE_SIGNALS={{ SIGNALS }} cargo test --locked -p ppipe --test full_disk signals -- --nocapture

# 100,000 kills and 10,000 stops of a microsecond to two seconds, among four writers and four readers; half an hour, an hour at most. It says how to go on.
storm *ARGS:
    cargo run --release --locked -p storm --bin long-storm -- {{ ARGS }}

# The last writer or reader killed while 1, 8 and 64 processes sleep, 1,000 times: each has to return, and how soon. It says with which `--seed` and `--from` to go on.
last-out *ARGS:
    cargo run --release --locked -p storm --bin last-out -- {{ ARGS }}

# 16 processes that make, open, use and leave one name 10,000 times, killed and stopped at that; some minutes. It says with which `--seed` and `--from` to go on.
life-cycle *ARGS:
    cargo run --release --locked -p storm --bin life-cycle -- {{ ARGS }}

# Kills (`--stop`: stops) at every instruction of every operation, for an hour at most; it says with which `--from` to go on. `--every 37` takes half of that. `--pairs 20000`: two victims
# at once. `--rivals`: on rings as they are mostly built.
torture *ARGS:
    cargo run --release --locked -p torture -- {{ ARGS }}

# Every state of the ring's protocol, with deaths at each step, in larger scenarios than the tests have: some minutes and gigabytes.
states *ARGS:
    cargo run --release --locked -p states -- {{ ARGS }}

# Races between threads on the bytes of pages, by ThreadSanitizer: needs a nightly compiler. The last test must be reported.
tsan:
    loom-tests/tsan

# A fuzzer on headers (`attach`) or on operations among scribbled words (`scribbled`): needs a nightly compiler, a C++ compiler and nothing else.
fuzz TARGET="attach" SECONDS="60":
    fuzz/run {{ TARGET }} {{ SECONDS }}

# Each ordering and each fence of the algorithm weakened by itself; goes on where `docs/weakened.md` ends. A quarter of an hour.
weaken *WORDS:
    cargo run --locked -p loom-tests --bin mutants -- --weaken {{ WORDS }}

# The ring under 200,000 chosen schedules of six participants; a minute or some. `PPIPE_SEED=...` repeats a run.
schedules SCHEDULES="50000":
    PPIPE_SCHEDULES={{ SCHEDULES }} cargo test --release --locked -p loom-tests --test schedules -- --nocapture

# Attacks by one who scribbles over a pipe's memory, for ten minutes if not said otherwise (`--seconds`); it says with which `--seed` to go on.
hostile *ARGS:
    cargo run --release --locked -p hostile -- {{ ARGS }}

# The attacks, and the tests of the memory, under AddressSanitizer. It asks the compiler for what is not stable yet.
asan *ARGS:
    RUSTC_BOOTSTRAP=1 ASAN_OPTIONS=detect_leaks=0:handle_sigbus=0:${ASAN_OPTIONS:-} \
    RUSTFLAGS="-Zsanitizer=address -Cunsafe-allow-abi-mismatch=sanitizer --cfg sanitized" \
    cargo test --locked --target x86_64-unknown-linux-gnu --target-dir target/asan -p shm-ring -p hostile {{ ARGS }}

# Ratios to the kernel's pipe and to the machine's limit, with real processes; about three minutes.
ratios *ARGS:
    cargo run --release --locked -p benches --bin ratios -- {{ ARGS }}

# What each part costs within one process, by criterion.
parts:
    cargo bench --locked -p benches --bench parts

# What CI runs: tests, format, lints, documentation, mutants.
check:
    .ci/run

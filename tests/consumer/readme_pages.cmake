# The pages that a user reads, README.md first.
file(GLOB pages RELATIVE ${source} ${source}/examples/guide/*.md)
set(pages README.md ${pages} examples/README.md tests/README.md benchmarks/README.md)

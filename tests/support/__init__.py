"""What tests share: fakes, generated files, servers on this machine, and commands in processes."""

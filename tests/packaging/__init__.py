"""What is installed where somebody installs sendledger."""

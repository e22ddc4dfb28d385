"""What somebody may do: send, suppress, release, opt in, import, set policies. It knows no HTTP and no terminal.

In:  what is asked for, as JSON has it; who asks; a producer of Kafka, and a store where something is to be looked up.
Out: records in the log; or RequestError, which the gateway makes a problem of and the command line an exit code.
"""

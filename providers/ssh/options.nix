# Generated from config.ts by scripts/options.ts: change config.ts and run it. config.ts checks the same options for
# every kind of machine, and rules that are no types (such as a port that stands twice) besides.
# This provider has no options of its own: those of every machine describe the host.
{ ... }: { }

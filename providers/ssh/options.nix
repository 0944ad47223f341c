# Generated from config.ts by scripts/options.ts: change config.ts, then run the script. config.ts checks the
# same options for every kind of machine. It also checks rules that no type expresses, such as unique ports.
# This provider has no options of its own: those of every machine describe the host.
{ ... }: { }

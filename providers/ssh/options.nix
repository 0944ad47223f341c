# The provider ssh (deployment.targetEnv = "none") has no options of its own: a host that exists is described by
# deployment.targetHost and its like, which every machine has.
{ ... }: { }

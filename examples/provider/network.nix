{
  network.description = "A machine of the example provider";

  desk = {
    deployment.os = "debian";
    deployment.targetEnv = "folder";
    deployment.folder.memo = "the machine under the desk";
  };
}

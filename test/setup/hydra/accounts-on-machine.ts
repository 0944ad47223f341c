/** Scripts that remove or damage the accounts of the task hydra-accounts, on a machine with separate users. */
export const resetAccounts = `for user in hydra hydra-queue-runner hydra-www; do userdel $user 2>/dev/null; done
groupdel hydra 2>/dev/null
rm -rf /var/lib/hydra /nix/var/nix/gcroots/hydra`

export const accountDamages = {
  'no way to the daemon': 'gpasswd -d hydra-www nix-users > /dev/null',
  'directory closed': 'chmod 0750 /var/lib/hydra',
  'directory gone': 'rm -r /var/lib/hydra/build-logs',
  'directory of another': 'chown root /var/lib/hydra/www',
}

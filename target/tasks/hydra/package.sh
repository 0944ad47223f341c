# shellcheck shell=sh
# Examines a package of Hydra and the machine.
# Values: package (path), apart (names of the programs that are separate packages since 2026), record (file with the
# result of an earlier examination; empty for a new one), examined (the first line of a record of this package) and
# nix_record (record of an earlier start of Nix).
# Prints `program=` for each program, `takes=` with a program and an option that it takes (`--unsure` if the program
# did not end by itself), `metrics=no` if no option changes the address of the queue runner's metrics, `url=yes` if
# Hydra takes its database as a URL, `system=` for each system that the machine builds for, `cores=`, and `kvm=yes`.
#
# Hydra reads the database variable in Hydra/Model/DB.pm. A wrapper package lacks this file, so the script searches
# the whole package and its references for the variable. Programs in Rust list their options. Programs in C++ reject
# --help and do nothing (read in their source). The programs run as nobody, in an environment without any variable of
# the script. The machine builds for its own system, for the systems that binfmt emulates (Nix's extra-platforms), and
# for `builtin`. An older queue runner does not contain the name of the option for its metrics address.
#
# A path of the Nix store never changes, so the slow examination is needed only once. The facts of the machine and the
# list of programs are read in every run.
: "${package:?}" "${apart:?}" "${record?}" "${examined:?}" "${nix_record:?}"
cd / || exit 1
for program in "$package"/bin/hydra-*; do
  [ ! -x "$program" ] || say program "${program##*/}"
done
split_by_line
# Prints the facts of a record of this package; fails if no such record exists.
recorded() {
  [ -n "$record" ] && [ -r "$record" ] || return 1
  {
    IFS= read -r first && [ "$first" = "$examined" ] || return 1
    while IFS= read -r line; do printf '%s\n' "$line"; done
  } < "$record"
}
# Tells which variable a package reads: status 0 for the URL, 1 for the older variable, 2 for unknown.
reads_url() {
  model=$(find "$1" -path '*/Hydra/Model/DB.pm' 2>/dev/null | head -n 1)
  if [ -n "$model" ]; then
    grep -qF HYDRA_DATABASE_URL -- "$model"
    return
  fi
  if grep -RqaF HYDRA_DBI -- "$1" 2>/dev/null; then return 1; fi
  if grep -RqaF HYDRA_DATABASE_URL -- "$1" 2>/dev/null; then return 0; fi
  return 2
}
examine() {
  for program in $apart; do
    [ -x "$package/bin/$program" ] || continue
    {
      runuser -u nobody -- env -i PATH=/usr/bin:/bin:/run/current-system/sw/bin HOME=/nonexistent timeout 60 "$package/bin/$program" --help < /dev/null 2> /dev/null
      # The program took too long, could not start, or was killed.
      [ $? -lt 124 ] || echo --unsure
    } | grep -oE -- '--(config-path|grpc-bind|unsure)' | sort -u | sed "s/^/takes=$program /" &
  done
  wait
  runner=$(readlink -f -- "$package/bin/hydra-queue-runner")
  wrapped=${runner%/*}/.hydra-queue-runner-wrapped
  [ ! -f "$wrapped" ] || runner=$wrapped
  if head -c 4 -- "$runner" 2>/dev/null | grep -qaF ELF; then
    grep -qaF queue_runner_metrics_address -- "$runner" || say metrics no
  fi
  reads_url "$package"
  answer=$?
  if [ "$answer" = 2 ]; then
    for reference in $(nix-store -q --references "$package" 2>/dev/null); do
      case $reference in
        "$package") ;;
        *hydra*)
          if reads_url "$reference"; then
            answer=0
            break
          fi
          ;;
      esac
    done
  fi
  [ "$answer" != 0 ] || say url yes
}
recorded || examine
systems=$(recorded_systems "$nix_record")
[ -n "$systems" ] || systems=$(systems_of_nix)
[ -n "$systems" ] || systems=$(own_system)
for system in $systems; do say system "$system"; done
say system builtin
say cores "$(nproc)"
if [ -w /dev/kvm ]; then say kvm yes; fi
exit 0

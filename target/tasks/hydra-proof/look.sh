# shellcheck shell=sh
# Checks whether a build of the proof was green, and whether its project is visible.
# Values: database, database_port, hydra_user and role (that own it), project.
# Prints `green=yes` and `enabled=yes`.
: "${database:?}" "${database_port:?}" "${hydra_user:?}" "${role:?}" "${project:?}"
cd / || exit 1
# The answer is `1` or empty, a bar, and then `1` or another value.
answer=$(hydra_sql "select (select 1 from builds b join jobsets j on j.id = b.jobset_id
    where j.project = '$project' and b.finished = 1 and b.buildstatus = 0 limit 1),
  (select enabled from projects where name = '$project')" 2> /dev/null)
[ "${answer%%|*}" != 1 ] || say green yes
[ "${answer#*|}" != 1 ] || say enabled yes
exit 0

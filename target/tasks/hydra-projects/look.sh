# shellcheck shell=sh
# Reads projects and jobsets of Hydra, in the form of its API, and the list of those that hydra-ops created.
# Values: database, database_port, hydra_user and role (that own it), list (file), projects (names of the options).
# Prints each line of the list as `made=`, and `rows=` with an object in JSON. Prints `unread=` instead of rows after
# a failure, with the reason in the words of psql. The reason is empty if the database has no tables of Hydra.
: "${database:?}" "${database_port:?}" "${hydra_user:?}" "${role:?}" "${list:?}" "${projects?}"
cd / || exit 1
made=$(grep -E '^(project [A-Za-z0-9_-]+|(jobset|shot) [A-Za-z0-9_-]+ [A-Za-z0-9._-]+)$' "$list" 2> /dev/null)
printf '%s\n' "$made" | sed -n 's/^./made=&/p'
# The names of projects form an SQL list. Any text that is not a name is left out, so it cannot reach the database.
names=$({ printf '%s\n' "$projects"; printf '%s\n' "$made" | cut -d' ' -f2; } |
  grep -E '^[A-Za-z0-9_-]+$' | sort -u | sed 's/.*/\x27&\x27/' | paste -sd, -)
said=$(hydra_sql "
  select jsonb_build_object(
    'private', exists (select 1 from information_schema.columns where table_name = 'projects' and column_name = 'private'),
    'projects', (select coalesce(jsonb_agg(to_jsonb(p) || jsonb_build_object('declarative',
        case when coalesce(p.declfile, '') <> ''
          then jsonb_build_object('file', p.declfile, 'type', p.decltype, 'value', p.declvalue) end)), '[]')
      from projects p where p.name in (${names:-''})),
    'jobsets', (select coalesce(jsonb_agg((to_jsonb(j) - 'errormsg' - 'fetcherrormsg')
        || jsonb_build_object('visible', j.hidden = 0, 'inputs', (
          select coalesce(jsonb_object_agg(i.name, jsonb_build_object(
            'type', i.type, 'emailresponsible', i.emailresponsible, 'value', a.value)), '{}')
          from jobsetinputs i left join jobsetinputalts a
            on a.project = i.project and a.jobset = i.jobset and a.input = i.name and a.altnr = 0
          where i.project = j.project and i.jobset = j.name))), '[]')
      from jobsets j where j.project in (${names:-''}) and j.name <> '.jobsets'))" 2>&1) && {
  # A warning of the server may precede the object, which is one line.
  say rows "${said##*
}"
  exit 0
}
say_unread "$?" "$said" "to_regclass('projects') is null or to_regclass('jobsets') is null"
exit 0

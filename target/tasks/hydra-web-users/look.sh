# shellcheck shell=sh
# Lists the users who may log in to Hydra.
# Values: database, database_port, hydra_user and role (that own it), absent (`none` = an unreadable table counts as
# empty; `error` = the script fails).
# Prints an array in JSON.
: "${database:?}" "${database_port:?}" "${hydra_user:?}" "${role:?}" "${absent:?}"
cd / || exit 1
read_users() {
  hydra_sql "
  select coalesce(json_agg(row_to_json(u) order by u.username), '[]') from (
    select username, fullname, emailaddress, password <> '!' as canlogin,
      array(select role from userroles r where r.username = users.username order by role) as roles
    from users) u"
}
if [ "$absent" = none ]; then read_users 2> /dev/null || echo '[]'; else read_users; fi

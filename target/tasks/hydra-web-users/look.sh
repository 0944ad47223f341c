# shellcheck shell=sh
# Lists the users of Hydra, and whether they may log in.
# Values: database, database_port, hydra_user and role (that own it).
# Prints `users=` with an array in JSON, or `unread=` with the reason in the words of psql. The reason is empty if the
# database has no tables of Hydra.
: "${database:?}" "${database_port:?}" "${hydra_user:?}" "${role:?}"
cd / || exit 1
said=$(hydra_sql "
  select coalesce(jsonb_agg(to_jsonb(u) order by u.username), '[]') from (
    select username, fullname, emailaddress, password <> '!' as canlogin,
      array(select role from userroles r where r.username = users.username order by role) as roles
    from users) u" 2>&1) && {
  # A warning of the server may precede the array, which is one line.
  say users "${said##*
}"
  exit 0
}
say_unread "$?" "$said" "to_regclass('users') is null or to_regclass('userroles') is null"
exit 0

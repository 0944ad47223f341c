# Prints the installed packages of dpkg's status file that have, or provide, a name in the value `wanted`.
BEGIN {
  count = split(wanted, names, " ")
  for (i = 1; i <= count; i++) is_wanted[names[i]] = 1
}
/^Package: / { name = $2 }
/^Status: / { installed = $4 == "installed" }
/^Version: / { version = $2 }
/^Provides: / { provides = substr($0, 11) }
/^$/ { tell() }
END { tell() }
function tell(  i, count, fields, first) {
  if (installed) {
    found = name in is_wanted
    count = split(provides, fields, ",")
    for (i = 1; i <= count && !found; i++) {
      split(fields[i], first, " ")
      found = first[1] in is_wanted
    }
    if (found) print "ii |" name "|" version "|" provides
  }
  name = version = provides = ""
  installed = 0
}

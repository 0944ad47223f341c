# Checks that must pass before any change.
package Checks;
use strict;
use warnings;

# Dies with all reasons why the machine cannot reach the wanted state.
sub refuse_what_cannot_be {
    my ($want, $have, $closure, $before_tasks) = @_;
    my @problems = (
        (map { path_problems($_, $have) } sort(State::wanted_paths($want))),
        (map { file_problems($_, $want, $before_tasks) } sort keys %{ $want->{files} }),
        (map { link_problems($_, $have) } sort keys %{ $want->{links} }),
        unit_problems($want, $have),
    );
    my $program = $want->{activate} && "$want->{activate}/bin/activate";
    push @problems, "$program is not a program" if $program && !(-f $program && -x _);
    die join '', map { "$_\n" } @problems if @problems;
}

sub path_problems {
    my ($path, $have) = @_;
    my @problems;
    my $real = Files::real($path);
    if (-e $real && !-l $real && !-f _) {
        my $what = -d _ ? 'a folder' : 'neither a file nor a link';
        push @problems, "$path is $what here" unless $have->{dirs}{$path};
    }
    for my $folder (State::folders_of($path)) {
        next if !Files::exists_at($folder) || -d Files::real($folder) || $have->{paths}{$folder};
        push @problems, "$path cannot be made: $folder is not a folder here";
    }
    return @problems;
}

sub file_problems {
    my ($path, $want, $before_tasks) = @_;
    my $file = $want->{files}{$path};
    my @problems;
    push @problems, "the source of $path is not a file: $file->{source}" if defined $file->{source} && !-f $file->{source};
    my ($unit) = $path =~ m{^/etc/systemd/system/([^/]+)\z};
    push @problems, "$path is both in deployment.files and in deployment.units" if defined $unit && $want->{units}{$unit};
    push @problems, "$path is both in deployment.files and a program of deployment.packages" if $want->{links}{$path};
    # The activation program or a later set-up task may create the user.
    push @problems, unknown_owner($path, $file) if !$want->{activate} && !$before_tasks && !owner($file);
    return @problems;
}

sub unknown_owner {
    my ($path, $file) = @_;
    return "the owner of $path does not exist here: user '$file->{user}', group '$file->{group}'";
}

# Returns { uid, gid } of a file's owner; undef when the user or group does not exist.
sub owner {
    my ($file) = @_;
    my $uid = $file->{user}  =~ /^\d+\z/ ? $file->{user}  : getpwnam $file->{user};
    my $gid = $file->{group} =~ /^\d+\z/ ? $file->{group} : getgrnam $file->{group};
    return defined $uid && defined $gid ? { uid => $uid, gid => $gid } : undef;
}

# Tells whether a unit names a user or group that does not exist here. A name with a specifier counts as existing.
sub lacks_user {
    my ($text) = @_;
    $text =~ s/^[ \t]*[#;].*\n?//mg;
    $text =~ s/\\\n/ /g;
    my $dynamic = last_value($text, 'DynamicUser') =~ /^(?:1|yes|y|true|t|on)\z/i;
    # systemd itself creates only the user and the group of DynamicUser=.
    my @users  = (($dynamic ? () : last_value($text, 'User')), last_value($text, 'SocketUser'));
    my @groups = (($dynamic ? () : last_value($text, 'Group')), last_value($text, 'SocketGroup'));
    push @groups, split ' ', join ' ', values_of($text, 'SupplementaryGroups');
    my $is_known = sub { $_[0] eq '' || $_[0] =~ /%/ };
    return 1 if grep { !$is_known->($_) && !owner({ user => $_, group => 0 }) } @users;
    return scalar grep { !$is_known->($_) && !owner({ user => 0, group => $_ }) } @groups;
}

# Returns a unit's values of a setting after the last empty assignment (systemd.syntax(7)).
sub values_of {
    my ($text, $name) = @_;
    my @values;
    for my $value ($text =~ /^[ \t]*$name[ \t]*=[ \t]*(.*?)[ \t]*$/mg) {
        @values = $value eq '' ? () : (@values, $value);
    }
    return @values;
}

sub last_value {
    my @values = values_of(@_);
    return $values[-1] // '';
}

sub link_problems {
    my ($path, $have) = @_;
    return () if $have->{paths}{$path} || !Files::exists_at($path);
    # A link to a closure of hydra-ops belongs to hydra-ops, even if the record was lost.
    return () if (readlink Files::real($path) // '') =~ m{^/nix/store/[^/]+-hydra-ops-[^/]+/s?bin/};
    return "$path is there already and not ours: remove it, or leave its package out of deployment.packages";
}

sub unit_problems {
    my ($want, $have) = @_;
    return () unless %{ $want->{units} } || %{ $have->{units} };
    return () if $Files::root ne '' || -d '/run/systemd/system';
    return 'deployment.units needs systemd, which does not run here';
}

# The nix task and the login need these packages. A user who drops such a package from aptPackages does not want its
# removal.
my %stays = map { ($_ => 1) } qw(nix-bin nix-setup-systemd openssh-server sudo systemd systemd-sysv dbus);

# Selects the installed packages that may be removed.
sub removable {
    my (@packages) = @_;
    return grep { !$stays{$_} && is_installed($_) } @packages;
}

sub is_installed {
    my $status = capture('dpkg-query', '-W', '-f=${db:Status-Status}', $_[0]);
    return defined $status && $status eq 'installed';
}

# Simulates the removal of packages with apt. Returns why the packages must stay: apt would also remove others.
sub why_packages_stay {
    my (@packages) = @_;
    my $plan = capture('apt-get', '-s', '-q', 'remove', '--', @packages) // return 'apt-get -s remove failed';
    my %ours = map { ($_ => 1) } @packages;
    my @others = grep { !$ours{$_} } $plan =~ /^Remv (\S+)/mg;
    return @others ? "@others would have to go too" : undef;
}

# Returns the standard output, or undef when the program did not exit with 0.
sub capture {
    open my $out, '-|', @_ or return undef;
    local $/;
    my $text = <$out>;
    return close $out ? $text // '' : undef;
}

1;

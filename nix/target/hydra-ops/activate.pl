# Brings a Debian machine to the state of its closure, and undoes changes of earlier closures that this closure drops.
#
#   perl <closure>/hydra-ops/activate.pl <closure> [--owner UUID] [--always] [--before-tasks] [--run NAME]
#   perl <closure>/hydra-ops/activate.pl <closure> --print
#
# Runs as root and needs only perl-base, which every Debian has. The program may be killed at any point and run again.
# Exit statuses:
#   0: success
#   1: a failure before or while files were changed
#   2: the activation program failed
#   4: units failed
#   5: a dropped item could not be removed
#   6: files or units wait for their users, or the activation program or units failed; only with --before-tasks
# --before-tasks means that set-up tasks follow; the activation after the tasks reports such failures. Only 0 moves the
# profile, so a deploy tries again after any other status.
use strict;
use warnings;
use Fcntl qw(:flock :mode);
use File::Basename qw(dirname);
use Getopt::Long qw(GetOptions);

BEGIN { require(dirname(__FILE__) . "/$_.pl") for qw(records files units state checks) }

my $profile = '/nix/var/nix/profiles/hydra-ops';
# Folder of GC roots that protect copied or half-activated closures; the copy creates roots here too.
my $gc_roots = '/nix/var/nix/gcroots/hydra-ops';
my $lock_seconds = 600;
my $apt_installed = '/var/lib/hydra-ops/apt-installed';

$| = 1;
umask 022;
# The activation continues when the reader of its output is gone.
$SIG{PIPE} = 'IGNORE';

GetOptions(
    'always'       => \my $always,
    'before-tasks' => \my $before_tasks,
    'print'        => \my $print,
    'run=s'        => \my $run,
    'owner=s'      => \my $owner,
    # Options only for tests: a scratch folder as the machine, a kill before the n-th change, shorter waits.
    'root=s'       => \$Files::root,
    'stop-after=i' => \$Files::steps_left,
    'settle=f'     => \$Units::settle_seconds,
) or exit 1;
my $closure = shift // '';
$closure =~ m{^/} or fail("the closure is missing; usage: perl activate.pl /nix/store/…");

my $tools = '/usr/sbin:/usr/bin:/sbin:/bin:/nix/var/nix/profiles/default/bin';
if ($Files::root eq '') {
    # PATH excludes /usr/local, because deployed programs must not replace the machine's own programs.
    $ENV{PATH}   = $tools;
    $ENV{HOME}   = '/root';
    $ENV{LC_ALL} = 'C.UTF-8';
}

my $code = eval { $print ? print_manifest() : activate() };
if (!defined $code) {
    print "error: $_\n" for split /\n/, $@;
    $code = 1;
    conclude($code);
}
exit $code;

sub fail { print "error: $_[0]\n"; exit 1 }

sub print_manifest {
    print Records::format_line(@$_), "\n" for State::manifest_records($closure);
    return 0;
}

sub activate {
    $> == 0 || $Files::root ne '' or die "the activation needs root\n";
    my $lock = take_lock();
    State::refuse_other_owner($owner);
    my $want = State::read_manifest($closure);
    my $have = State::read_managed();
    my $is_new = (readlink_all($profile) // '') ne $closure;

    Checks::refuse_what_cannot_be($want, $have, $closure, $before_tasks);
    keep_alive($closure);
    Files::sweep(State::folders($want, $have));
    State::own($owner);
    my $plan = State::claim($want, $have);

    my @leftovers = drop($plan);
    my $program = ($is_new || $always) && $want->{activate};
    my @left = place($want, !$program && !$before_tasks);
    if ($program) {
        return conclude(after_failed_program($before_tasks)) if run_activation_program($program) != 0;
        @left = place_files($want, !$before_tasks);
    }
    my %wait   = map { ($_->{name} => 1) } grep { $before_tasks && Checks::lacks_user($_->{text}) } @{ $plan->{units} };
    my %failed = bring_up($plan, $is_new, \%wait);
    push @leftovers, remove_packages($want);

    my $managed = State::settled($plan, { %failed, %wait }, \@leftovers);
    State::write_managed($managed);
    State::forget_saved($managed);
    # A failed unit may need the result of a set-up task. The activation after the tasks starts the unit again, and
    # reports a failure. The operator's side shows these lines if a task fails.
    if ($before_tasks && (@left || %wait || %failed)) {
        my @waiting = ((map { "file $_" } @left), map { "unit $_" } sort keys %wait);
        print 'waiting for their owner: ', join(', ', @waiting), "\n" if @waiting;
        print 'failed before the set-up tasks: ', join(', ', map { "unit $_" } sort keys %failed), "\n" if %failed;
        return conclude(6, sort keys %failed);
    }
    return conclude(4, sort keys %failed) if %failed;
    if (@leftovers) {
        print "error: not removed: @leftovers\n";
        return conclude(5);
    }
    move_profile() if $is_new;
    unlink map { Files::real("$gc_roots/$_") } Files::names_in($gc_roots);
    return conclude(0);
}

# Returns the exit status after a failure of the activation program, which may need the result of a set-up task.
sub after_failed_program {
    my ($before_tasks) = @_;
    return 2 if !$before_tasks;
    print "failed before the set-up tasks: deployment.activate\n";
    return 6;
}

# Writes the result for the operator's side: run, closure and exit status. The operator's side may read the result
# after the activation's unit is gone.
sub conclude {
    my ($code, @units) = @_;
    print join(' ', 'result', $code, @units), "\n";
    if (defined $run) {
        my $record = Records::format_file([ 'result', $run, $closure, $code, @units ]);
        eval { State::write_own('result', $record) } or print "error: the result was not written: $@";
    }
    return $code;
}

# --- one at a time -----------------------------------------------------------------------------------------------

sub take_lock {
    my $file = '/run/hydra-ops/activate.lock';
    Files::make_parents($file);
    open my $lock, '+>>', Files::real($file) or die "cannot open $file: $!\n";
    for my $waited (0 .. $lock_seconds) {
        if (flock $lock, LOCK_EX | LOCK_NB) {
            truncate $lock, 0;
            syswrite $lock, "$$\n";
            return $lock;
        }
        print "waiting for another activation (process ${\ holder($file)})\n" if $waited == 0;
        sleep 1;
    }
    die "another activation (process ${\ holder($file)}) did not end within $lock_seconds s\n";
}

sub holder {
    my $pid = Files::read_bytes($_[0]) // '';
    return $pid =~ /^(\d+)$/m ? $1 : 'unknown';
}

# --- the closure -------------------------------------------------------------------------------------------------

sub readlink_all {
    my ($path) = @_;
    for (1 .. 8) {
        my $next = readlink Files::real($path) or return $path;
        $path = $next =~ m{^/} ? $next : Files::parent($path) . "/$next";
    }
    return undef;
}

sub keep_alive {
    my ($path) = @_;
    my ($name) = $path =~ m{([^/]+)\z};
    Files::make_parents("$gc_roots/$name");
    Files::link_to("$gc_roots/$name", $path);
}

# Moves the profile after all files are on the disk. The profile must never name content that a power cut can still
# remove.
sub move_profile {
    Files::make_parents($profile);
    system('sync') == 0 or die "sync failed\n";
    Files::step();
    system('nix-env', '-p', Files::real($profile), '--set', $closure) == 0
        or die "nix-env could not set the profile $profile\n";
    system('sync') == 0 or die "sync failed\n";
}

# --- the stages --------------------------------------------------------------------------------------------------

# Drops units before files, because their ExecStop may need their files. Returns the items that could not be removed.
# The operator's side looks for the words "removed" and "put back" to find set-up tasks that need another look.
sub drop {
    my ($plan) = @_;
    my @units = sort keys %{ $plan->{dropped_units} };
    my @stuck = Units::retire(@units);
    print "unit $_ would not stop\n" for @stuck;
    my %stuck = map { (Units::file_of($_) => 1) } @stuck;
    my %name_of = map { (Units::file_of($_) => "unit $_") } @units;
    for my $path (grep { !$stuck{$_} } @{ $plan->{dropped_paths} }) {
        my $name = $name_of{$path} // ($path =~ m{^/usr/local/s?bin/([^/]+)\z} ? "program $1" : "file $path");
        my $saved = $plan->{saved}{$path};
        if (defined $saved) {
            Files::put_back($path, State::saved_file($saved));
            print "$name put back as it was before\n";
        }
        elsif (Files::remove($path)) { print "$name removed\n" }
    }
    Files::remove_folder($_) for reverse sort @{ $plan->{dropped_dirs} };
    return @stuck;
}

sub place {
    my ($want, $owners_exist) = @_;
    my @left = place_files($want, $owners_exist);
    for my $path (sort keys %{ $want->{links} }) {
        my $is_new = !Files::exists_at($path);
        Files::make_parents($path);
        Files::link_to($path, $want->{links}{$path}) && $is_new && print "program ${\ ($path =~ m{([^/]+)\z})} added\n";
    }
    place_hosts($want->{hosts});
    return @left;
}

# Places files, and returns the files whose owner does not exist yet. A second run follows an activation program,
# which may create owners.
sub place_files {
    my ($want, $owners_exist) = @_;
    my @left;
    for my $path (sort keys %{ $want->{files} }) {
        my $file = $want->{files}{$path};
        my $owned = Checks::owner($file);
        if (!$owned) {
            die Checks::unknown_owner($path, $file), "\n" if $owners_exist;
            push @left, $path;
            next;
        }
        Files::make_parents($path);
        Files::put($path, { %$file, %$owned }) && print "file $path written\n";
    }
    return @left;
}

# Replaces only the block between hydra-ops's own marks.
sub place_hosts {
    my (@hosts) = @{ $_[0] };
    my $path = readlink_all('/etc/hosts');
    my $old  = Files::read_bytes($path) // '';
    my ($begin, $end) = ('# hydra-ops: begin', '# hydra-ops: end');
    (my $new = $old) =~ s/^\Q$begin\E\n.*?^\Q$end\E\n//msg;
    if (@hosts) {
        $new .= "\n" if $new ne '' && $new !~ /\n\z/;
        $new .= join '', "$begin\n", (map { "$_->[0] $_->[1]\n" } @hosts), "$end\n";
    }
    return if $new eq $old;
    my @s = stat Files::real($path);
    my %same = @s ? (mode => $s[2] & 07777, uid => $s[4], gid => $s[5]) : (mode => 0644, uid => 0, gid => 0);
    Files::make_parents($path);
    Files::replace($path, { text => $new, %same });
    print "hosts written: ", join(' ', map { $_->[1] } @hosts) || 'none', "\n";
}

sub run_activation_program {
    my ($derivation) = @_;
    print "running $derivation/bin/activate\n";
    Files::step();
    local $ENV{PATH} = "/usr/local/sbin:/usr/local/bin:$ENV{PATH}";
    system("$derivation/bin/activate");
    my $status = $? == -1 ? 127 : $? & 127 ? 128 + ($? & 127) : $? >> 8;
    print "error: $derivation/bin/activate ended with status $status\n" if $status != 0;
    return $status;
}

# Writes all units, and starts the units that need not wait. Returns name -> reason for the failed units.
sub bring_up {
    my ($plan, $is_new, $wait) = @_;
    my @units = @{ $plan->{units} };
    for my $unit (@units) {
        my $path = Units::file_of($unit->{name});
        Files::make_parents($path);
        my $wrote = Files::put($path, { text => $unit->{text}, mode => 0644, uid => 0, gid => 0 });
        $unit->{changed} ||= $wrote;
    }
    my @changed = grep { $_->{changed} || $_->{turned_on} || $_->{turned_off} } @units;
    # An interrupted activation may have ended at this point. It has not moved the profile, so the closure is still
    # new.
    return () unless $plan->{needs_systemd} && ($is_new || @changed);
    Units::enable(grep { $_->{enable} } @changed) or die "systemctl could not enable units\n";
    Units::reload();
    return Units::settle(Units::begin(grep { !$wait->{ $_->{name} } } @units));
}

# Removes packages that hydra-ops installed and the closure no longer wants. Returns the packages that had to stay.
sub remove_packages {
    my ($want) = @_;
    my @installed = grep { /\S/ } split /\n/, Files::read_bytes($apt_installed) // '';
    my @dropped = grep { !$want->{apt}{$_} } @installed;
    return () unless @dropped;
    my @gone = Checks::removable(@dropped);
    if (my $why = @gone && why_not_removed(@gone)) {
        print "packages not removed: @gone: $why\n";
        return map { "package $_" } @gone;
    }
    State::write_own('apt-installed', join '', map { "$_\n" } grep { $want->{apt}{$_} } @installed);
    print "package $_ removed\n" for @gone;
    return ();
}

sub why_not_removed {
    my (@packages) = @_;
    my $why = Checks::why_packages_stay(@packages);
    return $why if defined $why;
    Files::step();
    local $ENV{DEBIAN_FRONTEND} = 'noninteractive';
    my @apt = qw(apt-get -q -y -o DPkg::Lock::Timeout=300 remove --);
    return system(@apt, @packages) == 0 ? undef : 'apt-get remove failed';
}

# Enables, starts, restarts and drops systemd units, and watches the units until they have settled.
package Units;
use strict;
use warnings;

# Seconds until a unit that is still starting counts as failed; systemd's default is 90 s (systemd-system.conf(5)).
our $settle_seconds = 600;
# Seconds a service must stay up after it started: a service with a wrong ExecStart is "active" for a moment.
my $steady_seconds = 1;
# Seconds a service may need to come up by restarts (Restart=), for example while it waits for another service.
my $restart_seconds = 30;
# Seconds to wait for units that only lack a key; the key may arrive after the activation.
my $key_seconds = 5;

sub file_of     { "/etc/systemd/system/$_[0]" }
sub is_template { $_[0] =~ /\@\./ }
# Returns a pattern for all instances of a template.
sub instances   { my $unit = shift; $unit =~ s/\@\./\@*./; $unit }

# Runs systemctl; returns true for exit status 0. Its output goes to the log.
sub systemctl {
    Files::step();
    return system('systemctl', '--no-ask-password', @_) == 0;
}

# Reads the properties of all units in one call. Returns name -> properties.
sub show {
    my (@units) = @_;
    return () unless @units;
    my @names = qw(Id LoadState ActiveState SubState Type Result Job NRestarts ConditionResult InvocationID
        ConditionTimestampMonotonic RemainAfterExit Triggers After);
    open my $out, '-|', 'systemctl', 'show', '-p', join(',', @names), '--', @units
        or die "cannot run systemctl: $!\n";
    my @blocks = split /\n\n+/, do { local $/; my $text = <$out>; defined $text ? $text : '' };
    close $out;
    my %found;
    for my $n (0 .. $#units) {
        my %state = map { /^([^=]+)=(.*)$/ ? ($1, $2) : () } split /\n/, $blocks[$n] // '';
        # The answers have the order of the names; the Id does not help, because an alias has the Id of another unit.
        $found{ $units[$n] } = \%state;
    }
    return %found;
}

sub reload { systemctl('daemon-reload') or die "systemctl daemon-reload failed\n" }

# --- starting at boot --------------------------------------------------------------------------------------------

my %wanted_by = (
    socket => 'sockets.target', timer => 'timers.target', path => 'paths.target', slice => 'slices.target',
    swap => 'swap.target', mount => 'local-fs.target', automount => 'local-fs.target',
);

# Each call of systemctl would otherwise reload the manager, which takes seconds on a small machine. One reload follows
# for all calls.
my @later = qw(--no-reload --quiet);

# Enables units { name, text, is_first } at boot, by their [Install] section or by the target for their type.
sub enable {
    my (@units) = @_;
    my @told  = grep { says_when($_->{text}) } @units;
    my @mute  = grep { !says_when($_->{text}) && !is_template($_->{name}) } @units;
    # An earlier version of the unit may have been enabled in another way.
    disable(map { $_->{name} } grep { !$_->{is_first} } @mute);
    my %by_target;
    push @{ $by_target{ $_->{name} =~ /\.(\w+)\z/ && $wanted_by{$1} || 'multi-user.target' } }, $_->{name} for @mute;
    my $ok = !@told || systemctl('reenable', @later, '--', map { $_->{name} } @told);
    $ok = systemctl('add-wants', @later, $_, @{ $by_target{$_} }) && $ok for sort keys %by_target;
    return $ok;
}

sub says_when { $_[0] =~ /^\s*(?:WantedBy|RequiredBy|UpheldBy|Also|Alias)\s*=\s*\S/m }

# Disables units without output, because systemctl explains at length that a unit has no [Install].
sub disable {
    my (@units) = @_;
    return unless @units;
    Files::step();
    run_quietly('systemctl', 'disable', @later, '--', @units);
}

sub run_quietly {
    my $child = fork // die "cannot fork: $!\n";
    if ($child == 0) {
        open STDOUT, '>', '/dev/null';
        open STDERR, '>', '/dev/null';
        exec @_ or exit 127;
    }
    waitpid $child, 0;
    return $? == 0;
}

# --- dropping ----------------------------------------------------------------------------------------------------

# Stops and disables units; returns the units that did not stop.
sub retire {
    my (@units) = @_;
    return () unless @units;
    Files::step();
    run_quietly('systemctl', 'stop', '--', map { instances($_) } @units);
    my %now = show(grep { !is_template($_) } @units);
    my @stuck = grep { ($now{$_}{ActiveState} // '') =~ /^(?:active|deactivating|reloading)$/ } sort keys %now;
    my %stuck = map { ($_ => 1) } @stuck;
    my @retired = grep { !$stuck{$_} } @units;
    disable(@retired);
    run_quietly('systemctl', 'reset-failed', '--', map { instances($_) } @retired) if @retired;
    return @stuck;
}

# --- starting ----------------------------------------------------------------------------------------------------

# Starts or restarts the wanted units { name, text, enable, changed }. Returns name -> { verb for the log, state
# before }.
sub begin {
    my (@units) = @_;
    my %before = show(map { $_->{name} } grep { !is_template($_->{name}) } @units);
    my (@start, @restart, @stop, %begun);
    for my $unit (@units) {
        my $name = $unit->{name};
        if (is_template($name)) {
            systemctl('try-restart', '--no-block', '--', instances($name)) if $unit->{changed};
            next;
        }
        my $now = $before{$name};
        my $up  = $now->{ActiveState} =~ /^(?:active|reloading)$/;
        if (!$unit->{enable}) {
            if    ($unit->{turned_off})      { push @stop, $name }
            elsif ($unit->{changed} && $up)  { push @restart, $name }
            next;
        }
        if    ($unit->{changed} && $name !~ /\.(?:target|slice)\z/) { push @restart, $name }
        elsif (!$up && ($unit->{changed} || is_meant_to_be_up($now)))   { push @start, $name }
    }
    for my $name (@restart, @start) {
        my $was_up = $before{$name}{ActiveState} =~ /^(?:active|reloading)$/;
        $begun{$name} = { verb => $was_up ? 'restarted' : 'started', before => $before{$name} };
    }
    my @again = make_way_for_sockets(\%before, grep { /\.socket\z/ } @restart);
    my @failed = grep { $before{$_}{ActiveState} eq 'failed' } keys %begun;
    systemctl('reset-failed', '--', @failed) if @failed;
    retire(@stop);
    print "unit $_ stopped: it is not enabled any more\n" for @stop;
    systemctl('restart', '--no-block', '--', @restart) if @restart;
    systemctl('start',   '--no-block', '--', @start)   if @start;
    systemctl('start',   '--no-block', '--', @again)   if @again;
    return %begun;
}

# Tells whether an inactive unit should be up because it was stopped by hand. A finished oneshot stays inactive.
sub is_meant_to_be_up {
    my ($now) = @_;
    return 0 if $now->{ActiveState} ne 'inactive';
    return 1 if ($now->{Type} // '') eq '' || $now->{Type} ne 'oneshot';
    return ($now->{RemainAfterExit} // '') eq 'yes';
}

# Stops services whose sockets must restart first; returns the services to start again.
sub make_way_for_sockets {
    my ($before, @sockets) = @_;
    my @services = map { split / /, $before->{$_}{Triggers} // '' } @sockets;
    return () unless @services;
    my %now = show(@services);
    my @up = grep { ($now{$_}{ActiveState} // '') eq 'active' } @services;
    systemctl('stop', '--', @up) if @up;
    return @up;
}

# --- settling ----------------------------------------------------------------------------------------------------

# Waits until every started unit is up, done or failed. Returns name -> reason for the failed units.
sub settle {
    my (%begun) = @_;
    my (%failed, %since);
    my $began   = now();
    my %pending = %begun;
    while (%pending) {
        my %state   = show(sort keys %pending);
        my $elapsed = now() - $began;
        for my $name (sort keys %pending) {
            my ($verdict, $why) = judge($state{$name}, $begun{$name}{before}, \%{ $since{$name} }, $elapsed);
            $verdict = 'failed', $why = "still $state{$name}{ActiveState} after $settle_seconds s"
                if $verdict eq 'wait' && $elapsed > $settle_seconds;
            next if $verdict eq 'wait';
            delete $pending{$name};
            print "unit $name ", $verdict eq 'up' ? "$begun{$name}{verb}$why" : "failed ($why)", "\n";
            $failed{$name} = $why if $verdict eq 'failed';
        }
        last unless %pending;
        if ($elapsed > $key_seconds) {
            my %waiting = waiting_for_keys(map { ($_ => $state{$_}) } keys %pending);
            print "unit $_ waits for $waiting{$_}\n" for sort keys %waiting;
            delete @pending{ keys %waiting };
        }
        select undef, undef, undef, 0.25;
    }
    return %failed;
}

# Returns seconds since boot: a change of the clock must not end the wait. (perl-base has no Time::HiRes.)
sub now {
    open my $in, '<', '/proc/uptime' or return time;
    my ($seconds) = split / /, <$in>;
    return $seconds;
}

# Judges the state of a unit. Returns ('up', remark), ('failed', reason) or ('wait').
sub judge {
    my ($state, $before, $memory, $elapsed) = @_;
    my $active = $state->{ActiveState} // 'unknown';
    my $load   = $state->{LoadState}   // 'unknown';
    return ('failed', "systemd says $load of it") if $load ne 'loaded';
    if (($state->{SubState} // '') =~ /^auto-restart/) {
        return $elapsed > $restart_seconds ? ('failed', 'it ends and is restarted again and again') : ('wait');
    }
    return ('wait') if $state->{Job} || $active =~ /^(?:activating|deactivating|reloading|refreshing)$/;
    return ('failed', $state->{Result} // $active) if $active eq 'failed';
    if ($active eq 'active') {
        return ('up', '') if ($state->{Type} // '') !~ /^(?:simple|exec|forking|idle)$/;
        my $life = "$state->{InvocationID} $state->{NRestarts}";
        @$memory{qw(life seen)} = ($life, $elapsed) if ($memory->{life} // '') ne $life;
        return $elapsed - $memory->{seen} >= $steady_seconds ? ('up', '') : ('wait');
    }
    return ('failed', $state->{Result}) if ($state->{Result} // 'success') ne 'success';
    return ('up', ' and done') if differs('InvocationID', $state, $before);
    # ConditionResult is "no" also for a condition that systemd never checked.
    return ('up', ', but a condition of it is not met')
        if $state->{ConditionResult} eq 'no' && differs('ConditionTimestampMonotonic', $state, $before);
    return ('failed', 'it was not started: a unit that it requires failed or is missing');
}

sub differs { my ($name, $a, $b) = @_; ($a->{$name} // '') ne ($b->{$name} // '') }

# Finds units that wait for a key whose unit is still starting. Returns name -> unit of the key.
sub waiting_for_keys {
    my (%state) = @_;
    open my $out, '-|', 'systemctl', 'list-jobs', '--no-legend', '--plain' or return ();
    my %awaited = map { /^\s*\d+\s+(\S+-key\.service)\s+start\s+running/ ? ($1 => 1) : () } <$out>;
    close $out;
    my %waiting;
    for my $name (keys %state) {
        next unless $state{$name}{Job} && $state{$name}{ActiveState} ne 'activating';
        my ($key) = grep { $awaited{$_} } split / /, $state{$name}{After} // '';
        $waiting{$name} = $key if defined $key;
    }
    return %waiting;
}

1;

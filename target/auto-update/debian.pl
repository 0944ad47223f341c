# The system of a Debian machine: a closure with an activation program. A deploy runs the program in the same kind of
# unit.
package System;
use strict;
use warnings;

sub running { Machine::place_of($Machine::config->{profile}) }

# Returns the time of the last change of the profile, which names the running closure.
sub since { (lstat $Machine::config->{profile})[9] // 0 }

# Refuses a closure that this machine cannot activate without a deploy.
sub refuse {
    my ($path) = @_;
    my $program = "$path/hydra-ops/activate.pl";
    my ($code, $said, $wrong) = Machine::run(120, $^X, $program, $path, '--print');
    die "$path is not a closure of a Debian machine: " . Machine::failure_of($code, $wrong, 120) . "\n" if $code != 0;
    my @wanted;
    for my $line (split /\n/, $said) {
        my $record = eval { JSON::PP->new->decode($line) };
        push @wanted, $record->[1] =~ /^([^=]+)/ if ref $record eq 'ARRAY' && ($record->[0] // '') eq 'apt';
    }
    return if !@wanted;
    my ($failed, $installed) = Machine::run(120, 'dpkg-query', '-W', '-f=${db:Status-Status} ${binary:Package}\n');
    die "dpkg-query cannot list the packages\n" if $failed != 0;
    my %there = map { /^installed ([^:\s]+)/ ? ($1 => 1) : () } split /\n/, $installed;
    my @missing = grep { !$there{$_} } @wanted;
    die "$path needs Debian packages that are not installed: @missing; a deploy installs them\n" if @missing;
}

# Returns the garbage-collector root that protects a fetched closure; the activation removes the root.
sub root_of { "$Machine::config->{roots}/" . ($_[0] =~ m{([^/]+)\z})[0] }

# A Debian machine has no system that waits for a boot, because a closure never needs a boot.
sub unsettled  { return }
sub needs_boot { return (undef, '') }
sub enter      { return }
sub is_kept    { return 0 }
sub finish     { return }

# A deploy changes the only profile, so the running closure already reflects each deploy.
sub is_replaced { return 0 }
sub leave       { return undef }

sub checks { $Machine::config->{healthChecks} }

# Returns the facts of a new attempt: its units and their logs.
sub beginning {
    my ($run) = @_;
    my $logs = $Machine::config->{logs};
    return (
        unit     => "hydra-ops-$run.service",      log     => "$logs/$run.log",
        backUnit => "hydra-ops-$run-back.service", backLog => "$logs/$run-back.log",
    );
}

# Activates the path of an attempt. An attempt by an earlier process may still run, or may have ended. Returns nothing,
# or a sentence about the failure.
sub activate {
    my ($attempt, $started) = @_;
    my ($code, @units);
    ($code, @units) = follow($attempt, $attempt->{path}) if $started;
    if (!defined $code && $started && running() eq $attempt->{path}) { $code = 0 }
    if (!defined $code) {
        start($attempt, $attempt->{path});
        ($code, @units) = follow($attempt, $attempt->{path});
    }
    if (!defined $code) {
        # A reboot of the machine has ended the unit.
        $attempt->{outside} = 1;
        return 'the result of the activation is lost';
    }
    return undef if $code == 0;
    return @units ? "units failed: @units" : "the activation ended with status $code";
}

# Keeps an activated system; does nothing, because a successful activation has moved the profile.
sub keep { return undef }

# Goes back to the closure that was active before the attempt. Returns nothing, or a sentence about the failure.
sub go_back {
    my ($attempt, $started) = @_;
    return 'no closure was there before' if $attempt->{previous} eq '';
    my $back = { %$attempt, unit => $attempt->{backUnit}, log => $attempt->{backLog}, path => $attempt->{previous} };
    return activate($back, $started);
}

sub start {
    my ($attempt, $path) = @_;
    open my $in, '<', $Machine::config->{ownerFile};
    my $owner = $in ? <$in> // '' : '';
    chomp $owner;
    my @options = ($owner =~ /^[0-9a-f-]+\z/ ? ('--owner', $owner) : (), '--always');
    my %values = (unit => $attempt->{unit}, log => $attempt->{log}, closure => $path, options => join("\n", @options));
    Machine::step();
    Machine::demand('start the activation', 'start', 120, %values);
    Machine::step();
}

# Follows a unit to its end. Returns its exit status and the failed units; returns nothing for a lost result.
sub follow {
    my ($attempt, $path) = @_;
    my ($unit, $seen) = ($attempt->{unit}, 0);
    my $end = Machine::uptime() + $Machine::config->{activationSeconds};
    while (1) {
        my $said = Machine::demand(
            'follow the activation', 'follow', 120,
            unit => $unit, log => $attempt->{log}, seen => $seen, seconds => 20,
        );
        my %state;
        for (split /\n/, $said) {
            if (/^log (.*)/) {
                Machine::tell($1);
                $seen++;
            }
            elsif (/^state (\w+)=(.*)/) { $state{$1} = $2 }
        }
        my @record = record_of($said, $unit, $path);
        my $active = $state{ActiveState} // '';
        # systemd does not answer for a moment while it re-executes itself.
        my $runs = !%state || $active =~ /^(?:de)?activating\z/ || ($active eq 'active' && ($state{SubState} // '') ne 'exited');
        if (!$runs) {
            my @end = @record ? @record : end_of($unit, \%state);
            remove($unit);
            return @end;
        }
        die "the activation did not end within $Machine::config->{activationSeconds} s\n" if Machine::uptime() > $end;
    }
}

# Returns the exit status and the failed units from the record that the activation leaves.
sub record_of {
    my ($said, $unit, $path) = @_;
    for my $line ($said =~ /^record (.*)$/mg) {
        my $record = eval { JSON::PP->new->decode($line) };
        next if ref $record ne 'ARRAY' || @$record < 4;
        my ($kind, $run, $closure, $code, @units) = @$record;
        return ($code, @units) if $kind eq 'result' && $run eq $unit && $closure eq $path && $code =~ /^\d+\z/;
    }
    return ();
}

# Returns the exit status from the unit's state. systemd reports "success" for a unit that is gone (measured).
sub end_of {
    my ($unit, $state) = @_;
    return () if ($state->{LoadState} // '') ne 'loaded' || ($state->{Id} // '') ne $unit;
    my $code = $state->{ExecMainStatus} // 1;
    return ($code) if ($state->{ActiveState} // '') eq 'active';
    return ($code == 0 ? 1 : $code) if ($state->{ActiveState} // '') eq 'failed';
    return ();
}

sub remove {
    Machine::step();
    Machine::script('finish', 120, unit => $_[0]);
    Machine::step();
}

1;

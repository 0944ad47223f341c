# The system of a NixOS machine. The scripts and the guard of a deploy activate the system (docs/safety.md).
package System;
use strict;
use warnings;

# Health checks may name programs of the running system.
$ENV{PATH} = join ':', $ENV{PATH} // (), '/run/wrappers/bin', '/run/current-system/sw/bin';

my @parts_of_a_boot = qw(kernel initrd kernel-modules systemd);
# Log lines of the switch, for the verdict.
my @log;

sub running { Machine::place_of('/run/current-system') }
sub default { Machine::place_of($Machine::config->{profile}) }

# Returns the time when the running system became the boot default.
sub since { (lstat $Machine::config->{profile})[9] // 0 }

# Returns the garbage collector root of the fetched system. The next fetch replaces this root.
sub root_of { "$Machine::config->{roots}/auto-update" }

# Longest time, in seconds, that a system other than the boot default may run before the update fails.
my $longest_between = 3 * 86_400;

# Returns a result and a sentence if the machine is between two systems. Dies if only an operator can end this state.
sub unsettled {
    my ($running, $default) = (running(), default());
    die "the machine has no /run/current-system\n" if $running eq '';
    return if $running eq $default;
    my ($awaited, $boot) = split / /, first_line($Machine::config->{awaits}) // '';
    return ('needs-reboot', "a deploy left $default for the next boot") if ($boot // '') eq boot_id() && $awaited eq $default;
    my $state = "$running runs, and $default is the boot default";
    die "$state, which the boot menu may lack; hydra-ops deploy or hydra-ops rollback fixes this\n" if -e $Machine::config->{pending};
    my ($since) = sort { $b <=> $a } map { (lstat $_)[9] // 0 } '/run/current-system', $Machine::config->{profile};
    die "$state since @{[ Machine::time_text($since) ]}; a deploy or a reboot decides\n" if time - $since > $longest_between;
    return ('busy', "$state; the next deploy or a reboot decides");
}

# Refuses a path that is not a NixOS system.
sub refuse {
    my ($path) = @_;
    die "$path is not a NixOS system\n" if !-x "$path/bin/switch-to-configuration";
}

# Returns a sentence if a system needs a reboot that the machine may not do by itself. The second value is the kind of
# a permitted boot: `after` a switch, or `only` if no switch is possible.
sub needs_boot {
    my ($path) = @_;
    my ($why, $kind) = boot_reason($path);
    return (undef, '') if !defined $why;
    my $obstacle = Boot::obstacle($path) // return (undef, $kind);
    return "$why, and the update does not reboot the machine: $obstacle; hydra-ops deploy --from-hydra --allow-reboot enters it";
}

# Returns why a switch is not enough for a system, and the kind of boot (src/systems/nixos/compare.ts).
sub boot_reason {
    my ($path) = @_;
    my ($from, $to) = map { (first_line("$_/nixos-version") // '') =~ /^(\d+\.\d+)/ ? $1 : undef } '/run/current-system', $path;
    my ($ours, $theirs) = map { inhibitors("$_/switch-inhibitors") } '/run/current-system', $path;
    my @changed = grep { defined $ours->{$_} && $ours->{$_} ne $theirs->{$_} } sort keys %$theirs;
    my @stale   = grep {
        my ($booted, $next) = map { Machine::place_of($_) } "/run/booted-system/$_", "$path/$_";
        $booted ne '' && $next ne '' && $booted ne $next;
    } @parts_of_a_boot;
    return ("its system is of another release ($to instead of $from)", 'only') if defined $from && defined $to && $from ne $to;
    return ("only a boot enters its system, because @{[ join ', ', @changed ]} changed", 'only') if @changed;
    return ("its system has another @{[ join ', ', @stale ]}", 'after') if @stale;
    return;
}

# Reads the switch inhibitors in a file, and ignores any that have an unknown form.
sub inhibitors {
    open my $in, '<:raw', $_[0] or return {};
    my $read = eval { local $/; JSON::PP->new->utf8->decode(<$in>) };
    return ref $read eq 'HASH' ? { map { ref $read->{$_} ? () : ($_ => $read->{$_}) } keys %$read } : {};
}

# Returns the health checks of the new system, or the current checks if the new system has no automatic update.
sub checks { (configuration_of($_[0]{path}) // {})->{healthChecks} || $Machine::config->{healthChecks} }

# Returns the configuration of a system's automatic update, or nothing.
sub configuration_of {
    my ($path) = @_;
    open my $in, '<:raw', "$path/etc/hydra-ops/auto-update.json" or return undef;
    my $read = eval { local $/; JSON::PP->new->utf8->decode(<$in>) };
    return ref $read eq 'HASH' ? $read : undef;
}

# Returns the facts of a new attempt, in the form of src/systems/nixos/places.ts.
sub beginning {
    my ($run) = @_;
    return (
        unit   => "hydra-ops-activation-$run.service",  keepUnit => "hydra-ops-keep-$run.service",
        log    => "$Machine::config->{logs}/$run.log",  folder   => "$Machine::config->{runs}/$run",
        bootId => boot_id(),                            login    => Login::before(),
        prepareUnit => "hydra-ops-prepare-$run.service",
    );
}

# Activates the path of an attempt and confirms the new system. An earlier process may have started the activation.
# Returns nothing, or a sentence about the failure. A second value is the result of an attempt that touched nothing.
sub activate {
    my ($attempt, $started) = @_;
    if ($started) {
        my $seen = look($attempt);
        if ($seen->{boot} ne $attempt->{bootId}) {
            return undef if running() eq $attempt->{path};
            $attempt->{outside} = 1;
            return 'the machine was restarted during the activation';
        }
        $started = is_under_way($attempt, $seen);
    }
    if (!$started) {
        my ($untouched, $why) = start($attempt);
        return ($why, $untouched) if defined $untouched;
    }
    # Nothing was switched yet: only a boot enters the new system.
    return undef if $attempt->{boots} eq 'only';
    my ($kind, $why) = judge($attempt, 'watched');
    if ($kind eq 'fired') {
        my $ended = exists look($attempt)->{files}{ended};
        wait_for_guard($attempt);
        return $ended ? 'nobody confirmed the new system in time' : 'the switch did not end in time';
    }
    if ($kind eq 'boot' || $kind eq 'busy') {
        take($attempt, 'abandoned');
        finish($attempt, 0);
        return ($why, $kind eq 'boot' ? 'needs-reboot' : 'busy');
    }
    return $why if $kind ne 'good';
    return confirm($attempt);
}

# Says whether the activation of an earlier process can be judged. An activation begins anew if it never began, or if
# its guard ended it because the process was killed.
sub is_under_way {
    my ($attempt, $seen) = @_;
    my $files = $seen->{files};
    return 1 if $attempt->{boots} eq 'only' && -e "$attempt->{folder}/keep";
    if (exists $files->{fired}) { wait_for_guard($attempt) }
    elsif (exists $files->{ended} || $seen->{unit} eq 'running' || running() ne $attempt->{previous}) { return 1 }
    elsif (exists $files->{armed} && !take($attempt, 'abandoned')) { wait_for_guard($attempt) }
    finish($attempt, 0);
    return 0;
}

sub start {
    my ($attempt) = @_;
    my ($config, $run, $path, $old) = ($Machine::config, @{$attempt}{qw(run path previous)});
    my ($action, $guarded) = $attempt->{boots} eq 'only' ? ('none', 'false') : ('test', 'true');
    my %here = map { ($_ => $attempt->{$_}) } qw(unit log folder);
    my ($times, %systems) = ($config->{times}, (old => $old, new => $path));
    my $owner = first_line($config->{ownerFile}) // '';
    my %placed = (
        arm   => { old => $old, folder => $here{folder}, run => $run },
        guard => { old => $old, run => $run, %here, attempt_seconds => $times->{attempt}, pause_seconds => $times->{pause} },
        switch => {
            %systems, folder => $here{folder}, action => $action, watch_seconds => $times->{watch}, confirm_seconds => $times->{confirm},
            watch_longer_seconds => $times->{watchLonger}, sample_seconds => $times->{sample},
        },
        keep => { %systems, folder => $here{folder}, map { ($_ => $config->{$_}) } qw(profile pending awaits) },
    );
    my %values = (
        %here, %systems, run => $run, running => $old, action => $action, guarded => $guarded, once => $config->{once},
        once_profile       => $config->{onceProfile}, profile => $config->{profile}, owner_file => $config->{ownerFile},
        owner              => $owner =~ /^[0-9a-f-]+\z/ ? $owner : $config->{owner},
        activation_seconds => $times->{activation} + $times->{watch} + $times->{confirm},
        map { ($_ => Machine::value_lines(%{ $placed{$_} }) . $config->{placed}{$_}) } keys %placed,
    );
    # The lines of an earlier start would otherwise be judged again.
    unlink $attempt->{log};
    Machine::step();
    my ($code, undef, $wrong) = Machine::script('begin', 180, %values);
    Machine::step();
    return if $code == 0;
    my $why = Machine::failure_of($code, $wrong, 180);
    return ('busy', $why) if $code == 75;
    return ('failed', "nothing was switched: $why") if grep { $code == $_ } 76, 77, 78;
    die "cannot start the activation: $why\n";
}

# Confirms a good switch, and judges the switch again at the end of the watch. Returns a sentence about the problem,
# or nothing.
sub confirm {
    my ($attempt) = @_;
    if (exists look($attempt)->{files}{armed}) {
        my $trouble = Login::trouble($attempt->{login});
        # The new system is not to blame for an unreachable Hydra.
        $attempt->{outside} = 1 if $Login::lacks_only_hydra;
        return $trouble if defined $trouble;
        if (!take($attempt, 'confirmed')) {
            wait_for_guard($attempt);
            # The last try may have tested the old system, so the last problem of the new system is quoted.
            return 'nobody confirmed the new system in time' . (defined $Login::lacked ? ": $Login::lacked" : '');
        }
        Machine::tell('the new system is confirmed');
    }
    my ($kind, $why) = judge($attempt, 'settled');
    return $kind eq 'good' ? undef : $why;
}

sub judge {
    my ($attempt, $awaited) = @_;
    return Verdict::of(follow($attempt, $awaited), @{$attempt}{qw(path bootId)}, @log);
}

# Takes the file of the guard; returns false if the guard was faster.
sub take {
    my ($attempt, $name) = @_;
    Machine::step();
    my $said = Machine::demand('confirm the new system', 'confirm', 120, run => $attempt->{run}, folder => $attempt->{folder}, name => $name);
    Machine::step();
    return $said =~ /^won=yes$/m;
}

# Makes the new system the boot default. Returns nothing, or a sentence about the failure.
sub keep {
    my ($attempt) = @_;
    my %values = (unit => $attempt->{keepUnit}, log => $attempt->{log}, folder => $attempt->{folder}, old => $attempt->{previous});
    Machine::step();
    Machine::demand('make the new system the boot default', 'keepStart', 180, %values);
    Machine::step();
    my $kept = follow($attempt, 'kept')->{files}{kept};
    if (($kept // '') eq '0 0') {
        finish($attempt, 1);
        return undef;
    }
    my ($set, $menu) = split / /, $kept // '';
    my $part = !defined $set ? 'its unit ended without a result' : $set ne '0' ? "the profile: status $set" : "the boot menu: status $menu";
    return "the new system did not become the boot default ($part)";
}

# Says whether an earlier process made the new system the boot default, and cleans up after that process.
sub is_kept {
    my ($attempt) = @_;
    my ($code, $state) = Machine::run(60, 'systemctl', 'show', '-p', 'SubState', '--value', '--', $attempt->{keepUnit});
    follow($attempt, 'kept') if $code == 0 && $state =~ /^(?:running|start)$/;
    return 0 if (first_line("$attempt->{folder}/kept") // '') ne '0 0' || running() ne $attempt->{path};
    finish($attempt, 1);
    return 1;
}

# Boots the machine into the new system if a boot is needed. Returns the result of this run, or a sentence about the
# failure as the second value. Returns nothing if no boot is needed.
sub enter {
    my ($attempt) = @_;
    return if $attempt->{boots} eq '' || $attempt->{phase} eq 'booted';
    my $wrong = Boot::once($attempt);
    return (undef, $wrong) if defined $wrong;
    return { result => 'rebooting', message => "evaluation $attempt->{evaluation} (build $attempt->{build}) is booted once" };
}

# Says whether the boot of an attempt is still to come, because the process was killed before.
sub is_before_boot { $_[0]{bootId} eq boot_id() }

# Continues after the boot of an attempt. Returns nothing if the new system is confirmed, or a sentence about the
# failure.
sub entered {
    my ($attempt) = @_;
    if (!Boot::is_entered($attempt)) {
        my $why = -e "$Machine::config->{once}/fired" ? 'nobody confirmed the boot in time' : 'its boot ended before a confirmation';
        Boot::forget($attempt, 'true');
        return $why;
    }
    my $trouble = Login::trouble($attempt->{login});
    # The fallback reboots the machine, and the next update reports the failure.
    die "$trouble; the machine goes back by rebooting\n" if defined $trouble;
    die "nobody confirmed the boot in time; the machine goes back by rebooting\n" if !Boot::confirm($attempt);
    Boot::forget($attempt, 'false');
    @{$attempt}{qw(phase bootId)} = ('booted', boot_id());
    Machine::write_own('attempt', $attempt);
    Machine::tell('the boot of the new system is confirmed');
    return undef;
}

# Makes the guard go back to the system that ran before the attempt. Returns nothing, or a sentence about the failure.
sub go_back {
    my ($attempt) = @_;
    # A reboot is enough, because the boot default is still the old system.
    if (Boot::is_entered($attempt) && default() ne $attempt->{path}) {
        my $wrong = Boot::restart();
        return defined $wrong ? $wrong : die "the machine goes back by rebooting\n";
    }
    my $seen  = look($attempt);
    my $files = $seen->{files};
    if ($seen->{boot} eq $attempt->{bootId} && grep { exists $files->{$_} } qw(armed confirmed fired)) {
        if (!exists $files->{fired}) {
            # The guard does not replace a system that became the boot default, so nothing would go back.
            return stays($attempt) if exists $files->{kept} && default() eq $attempt->{path};
            unlink "$attempt->{folder}/kept" if default() ne $attempt->{path};
            my %values = (run => $attempt->{run}, folder => $attempt->{folder}, old => $attempt->{previous});
            Machine::step();
            Machine::demand('go back to the earlier system', 'undo', 120, %values);
            Machine::step();
        }
        wait_for_guard($attempt);
    }
    my $running = running();
    return 'the machine runs ' . ($running || 'no known system') if $running ne $attempt->{previous};
    return stays($attempt) if default() eq $attempt->{path};
    finish($attempt, 0);
    return undef;
}

sub stays {
    my ($attempt) = @_;
    finish($attempt, 0);
    return "$attempt->{path} stays the boot default";
}

# Says whether the boot default was changed by another program since an attempt began.
sub is_replaced {
    my ($attempt) = @_;
    my $default = default();
    return !grep { $default eq $_ } @{$attempt}{qw(path previous)};
}

# Ends an attempt without changing the boot default. A system that was not confirmed is left. Returns nothing, or a
# sentence about the failure.
sub leave {
    my ($attempt) = @_;
    my $seen = look($attempt);
    return go_back($attempt) if $seen->{boot} eq $attempt->{bootId} && grep { exists $seen->{files}{$_} } qw(armed fired);
    finish($attempt, 0);
    return undef;
}

# Waits until the guard has gone back. A guard that reboots the machine ends this process.
sub wait_for_guard {
    my ($attempt) = @_;
    my $result = follow($attempt, 'guard-result')->{files}{'guard-result'} // '';
    return if $result !~ /^reboot /;
    Machine::tell('the old system does not come back; the machine reboots');
    sleep 600;
}

# Removes the units and the roots of an attempt.
sub finish {
    my ($attempt, $kept) = @_;
    my %values = (
        run => $attempt->{run}, folder => $attempt->{folder}, profile => $Machine::config->{profile}, kept => $kept ? 'true' : 'false',
        units => "$attempt->{unit}\n$attempt->{keepUnit}",
    );
    # A reboot ends every guard, but leaves its file `armed`.
    rename "$attempt->{folder}/armed", "$attempt->{folder}/abandoned" if boot_id() ne $attempt->{bootId};
    Machine::step();
    Machine::demand('remove the units of the activation', 'finish', 120, %values);
    unlink root_of();
    Machine::step();
}

# Follows an activation until a file appears in its folder, its guard fires, or its unit ends.
sub follow {
    my ($attempt, $awaited) = @_;
    my $end = Machine::uptime() + $Machine::config->{activationSeconds};
    while (1) {
        my $seen = look($attempt, $awaited, 20);
        my $files = $seen->{files};
        return $seen if exists $files->{$awaited} || $seen->{boot} ne $attempt->{bootId} || $seen->{over};
        die "the activation did not end within $Machine::config->{activationSeconds} s\n" if Machine::uptime() > $end;
    }
}

# Looks at an activation, and waits at most `seconds` for news. `over`: the awaited file can no longer appear.
sub look {
    my ($attempt, $awaited, $seconds) = @_;
    $awaited //= 'guard-result';
    my $unit = $awaited eq 'kept' ? $attempt->{keepUnit} : $awaited eq 'prepared' ? $attempt->{prepareUnit} : $attempt->{unit};
    my %values = (
        unit => $unit, guards => "hydra-ops-guard-$attempt->{run}-*.service", log => $attempt->{log}, folder => $attempt->{folder},
        await => $awaited, boot_id => $attempt->{bootId}, seen => scalar @log, seconds => $seconds // 0,
    );
    my $began = Machine::uptime();
    my $said  = Machine::demand('follow the activation', 'follow', 180, %values);
    my %seen  = (files => {}, before => [], samples => []);
    my %state;
    for (split /\n/, $said) {
        if (/^log (.*)/) {
            push @log, $1;
            Machine::tell($1);
        }
        elsif (/^file (\S+) ?(.*)/)                          { $seen{files}{$1} = $2 }
        elsif (/^state (\w+)=(.*)/)                          { $state{$1} = $2 }
        elsif (/^(boot|current|booted|profile) (.*)/)        { $seen{$1} = $2 }
        elsif (/^(before|sample) (\S+) (\S+) (\d+) (\S*) ?(\S*)/) {
            push @{ $seen{ $1 eq 'before' ? 'before' : 'samples' } }, { at => $2, unit => $3, restarts => $4, state => $5, result => $6 };
        }
    }
    $seen{unit} = unit_state($unit, %state);
    my $fired = exists $seen{files}{fired};
    # The script ends early only if nothing is left to wait for.
    $seen{over} = $awaited eq 'guard-result' ? $fired && Machine::uptime() - $began < ($seconds // 0) : $fired || $seen{unit} ne 'running';
    return \%seen;
}

# Returns the state of a unit. The load state is checked first: systemd reports success for a missing unit.
sub unit_state {
    my ($unit, %state) = @_;
    return 'running' if !%state;
    return 'gone' if ($state{LoadState} // '') ne 'loaded' || ($state{Id} // '') ne $unit;
    my $active = $state{ActiveState} // '';
    return 'ended' if $active eq 'inactive' || $active eq 'failed' || ($active eq 'active' && ($state{SubState} // '') eq 'exited');
    return 'running';
}

sub boot_id { first_line('/proc/sys/kernel/random/boot_id') // '' }

sub first_line {
    open my $in, '<', $_[0] or return undef;
    my $line = <$in> // '';
    chomp $line;
    return $line;
}

1;

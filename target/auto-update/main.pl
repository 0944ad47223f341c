# Updates a machine to the newest build of its jobset, without an operator.
#
#   perl PROGRAM CONFIGURATION [--look]
#
# --look says what would be done, and changes nothing.
# Exit statuses:
#   0: the machine is up to date, was updated, or waits for a deploy or a reboot
#   1: nothing was changed because of a fault, or the update went back
# The result is in `result.json` of the folder `state`. `attempt.json` exists during an activation. A run after a
# kill ends the attempt in this file.
package main;
use strict;
use warnings;

$| = 1;
umask 022;
$SIG{PIPE} = 'IGNORE';
$SIG{TERM} = sub { die "the update was stopped\n" };

my ($file, @flags) = @ARGV;
my $look_only = grep { $_ eq '--look' } @flags;
for (@flags) { $Machine::steps_left = $1 if /^--stop-after=(\d+)\z/ }
# Maximum number of runs that work on one attempt before the update rolls back. Also the maximum number of attempts at
# one build if only external causes made them fail. The update then tries the build once per pause.
my $most_tries = 3;
my $pause      = 7 * 86_400;

exit run();

sub run {
    my $read = eval {
        open my $in, '<:raw', $file // '' or die "cannot read the configuration: $!\n";
        local $/;
        $Machine::config = JSON::PP->new->utf8->decode(<$in>);
    };
    if (!$read) {
        print "error: $@";
        return 1;
    }
    return look() if $look_only;
    my $lock = eval { Machine::take_own_lock() };
    if (!$lock) {
        print $@ ? "error: $@" : "another automatic update is under way\n";
        return $@ ? 1 : 0;
    }
    my $result = eval { update() } // { result => 'failed', message => said($@) };
    eval { Machine::release_machine(); 1 } or print "error: $@";
    return eval { conclude($result) } // do { print "error: $@"; 1 };
}

sub said {
    my ($text) = @_;
    chomp $text;
    return $text;
}

# Says what an update would do.
sub look {
    my $found = eval { Hydra::choose(System::running(), known()->{evaluation}) };
    if (!$found) {
        print "error: $@";
        return 1;
    }
    print defined $found->{path} ? "evaluation $found->{evaluation} is the newest: $found->{path}\n" : "the machine is up to date\n";
    return 0;
}

# Returns what an earlier run noted about the running path. `evaluation` is set if the path came from an evaluation,
# and `since` if the machine went back to the path. Returns an empty set if the note is about another
# path.
sub known {
    my $known = (Machine::read_own('result') // {})->{known};
    return {} if ref $known ne 'HASH' || ($known->{path} // '') ne System::running();
    return { map { ($known->{$_} // '') =~ /^\d+\z/ ? ($_ => $known->{$_}) : () } qw(evaluation since) };
}

# Performs one update, and returns its result.
sub update {
    my $attempt = Machine::read_own('attempt');
    if ($attempt) {
        my $busy = Machine::take_machine();
        return { result => 'busy', message => $busy } if defined $busy;
        Machine::tell("an earlier update was interrupted; ending it");
        return resume($attempt);
    }
    my ($unsettled, $why) = System::unsettled();
    return { result => $unsettled, message => $why } if defined $unsettled;
    my $running = System::running();
    my $known   = known();
    my $since   = $known->{since} // System::since();
    my $found   = Hydra::choose($running, $known->{evaluation});
    Machine::tell("passed over: $_") for @{ $found->{passed} };
    my $id = $found->{evaluation};
    return { result => 'up-to-date', message => "evaluation $id runs", runs($running, $id) } if !defined $found->{path};
    my %facts = map { ($_ => $found->{$_}) } qw(evaluation build path);
    my $refused = refused($found->{path});
    if (!defined $known->{evaluation} && defined $found->{at} && $found->{at} <= $since) {
        my $when = Machine::time_text($since);
        return { result => 'up-to-date', message => "evaluation $id is older than the system that runs since $when" };
    }
    return { %facts, result => 'refused', message => "evaluation $id was tried before: $refused->{why}; $refused->{awaited} is awaited" } if $refused;
    if (Hydra::is_old($found->{at})) {
        my $age = Machine::length_of(time - $found->{at});
        die "evaluation $id is $age old, older than deployment.autoUpdate.maxAge allows\n";
    }
    fetch($found->{path});
    System::refuse($found->{path});
    my ($boot, $boots) = System::needs_boot($found->{path});
    return { %facts, result => 'needs-reboot', message => "evaluation $id: $boot" } if defined $boot;
    my $busy = Machine::take_machine();
    return { %facts, result => 'busy', message => $busy } if defined $busy;
    if (System::running() ne $running) {
        return { %facts, result => 'busy', message => 'the machine was deployed while the update was fetched' };
    }
    # A deploy may meanwhile have changed the boot default without changing the running system.
    ($unsettled, $why) = System::unsettled();
    return { %facts, result => $unsettled, message => $why } if defined $unsettled;
    my $run  = 'auto-' . Machine::time_text(time) . "-$$";
    $run =~ s/[:]//g;
    my %new = (
        %facts, previous => $running, known => { %$known, path => $running, since => $since }, run => $run, tries => 0, phase => 'activate',
        boots => $boots, System::beginning($run),
    );
    Machine::write_own('attempt', \%new);
    Machine::tell("evaluation $id, build $found->{build}: activating $found->{path}");
    return carry_out(\%new, 0);
}

# Ends the attempt of a killed process.
sub resume {
    my ($attempt) = @_;
    my $running = System::running();
    $attempt->{boots} //= '';
    if (!grep { $running eq $_ } @{$attempt}{qw(path previous)}) {
        System::finish($attempt, 0);
        Machine::remove_own('attempt');
        return { result => 'up-to-date', message => 'the machine was deployed after an update that was interrupted' };
    }
    return give_way($attempt) if System::is_replaced($attempt);
    return updated($attempt) if $attempt->{phase} ne 'back' && System::is_kept($attempt);
    if ($attempt->{phase} eq 'boot' && !System::is_before_boot($attempt)) {
        my $wrong = System::entered($attempt);
        return undo($attempt, $wrong, 0) if defined $wrong;
    }
    return judge($attempt) if $attempt->{phase} eq 'booted';
    $attempt->{tries}++;
    Machine::write_own('attempt', $attempt);
    if ($attempt->{phase} eq 'back') {
        return undo($attempt, $attempt->{why}, 1) if $attempt->{tries} <= $most_tries;
        return went($attempt, "no end after $most_tries runs");
    }
    if ($attempt->{tries} >= $most_tries) {
        $attempt->{outside} = $most_tries;
        return undo($attempt, "no end after $attempt->{tries} runs", 0);
    }
    return carry_out($attempt, 1);
}

# Ends an attempt whose boot default an operator replaced. The boot default stays.
sub give_way {
    my ($attempt) = @_;
    my $wrong = System::leave($attempt);
    Machine::remove_own('attempt');
    return { result => 'failed', message => "a deploy came after an update that was interrupted; going back failed: $wrong" } if defined $wrong;
    my ($result, $why) = System::unsettled();
    return { result => $result // 'up-to-date', message => $why // 'the machine was deployed after an update that was interrupted' };
}

# Activates, judges and keeps the build of an attempt, or goes back.
sub carry_out {
    my ($attempt, $started) = @_;
    my ($wrong, $untouched) = System::activate($attempt, $started);
    if (defined $untouched) {
        Machine::remove_own('attempt');
        return { facts_of($attempt), known => $attempt->{known}, result => $untouched, message => "evaluation $attempt->{evaluation}: $wrong" };
    }
    return defined $wrong ? undo($attempt, $wrong, 0) : judge($attempt);
}

# Checks the health of the running system, unless only a boot can start the new system. Keeps the new system, requests a
# one-time boot, or goes back.
sub judge {
    my ($attempt) = @_;
    my @failures = $attempt->{boots} eq 'only' && $attempt->{phase} ne 'booted' ? () : Health::failures(System::checks($attempt));
    my $wrong = @failures ? 'health check failed: ' . join('; ', @failures) : undef;
    if (!defined $wrong) {
        (my $result, $wrong) = System::enter($attempt);
        return { facts_of($attempt), known => $attempt->{known}, %$result } if $result;
    }
    $wrong //= System::keep($attempt);
    return defined $wrong ? undo($attempt, $wrong, 0) : updated($attempt);
}

sub updated {
    my ($attempt) = @_;
    my %facts = facts_of($attempt);
    my $message = "updated to evaluation $attempt->{evaluation} (build $attempt->{build})";
    return { %facts, result => 'updated', message => $message, runs(@{$attempt}{qw(path evaluation)}) };
}

sub undo {
    my ($attempt, $why, $started) = @_;
    Machine::tell("$why; going back to $attempt->{previous}");
    # Going back has its own count of tries.
    @{$attempt}{qw(phase why tries)} = ('back', $why, 0) if $attempt->{phase} ne 'back';
    Machine::write_own('attempt', $attempt);
    return went($attempt, System::go_back($attempt, $started));
}

# Returns the result of going back, which may have failed.
sub went {
    my ($attempt, $wrong) = @_;
    my $why = $attempt->{why};
    my %refused = (path => $attempt->{path}, why => $why);
    @refused{qw(outside at)} = ($attempt->{outside} + outside($attempt->{path}), time) if $attempt->{outside};
    my %facts = (facts_of($attempt), refused => \%refused, known => $attempt->{known});
    my $what = "evaluation $attempt->{evaluation} (build $attempt->{build}): $why";
    my $next = ($refused{outside} // $most_tries) < $most_tries ? '; the next update tries the build again' : '';
    return { %facts, result => 'went-back', message => "$what; went back to $attempt->{previous}$next" } if !defined $wrong;
    return { %facts, result => 'failed', message => "$what; going back failed: $wrong" };
}

sub facts_of { map { ($_ => $_[0]{$_}) } qw(evaluation build path) }
sub runs { (known => { path => $_[0], evaluation => $_[1] }) }

# Returns what an earlier run noted about the failure of a path.
sub noted {
    my ($path) = @_;
    my $refused = (Machine::read_own('result') // {})->{refused};
    return ref $refused eq 'HASH' && ($refused->{path} // '') eq $path ? $refused : {};
}

# Returns how many attempts of a path ended because of causes outside the machine.
sub outside { noted($_[0])->{outside} // 0 }

# Returns why a path must not be tried now: `why` (its earlier failure) and `awaited` (the event that allows a retry).
sub refused {
    my ($path) = @_;
    my $noted = noted($path);
    return undef if !defined $noted->{why};
    return { why => $noted->{why}, awaited => 'a newer build' } if !$noted->{outside};
    my $next = ($noted->{at} // 0) + $pause;
    return undef if $noted->{outside} < $most_tries || time >= $next;
    return { why => $noted->{why}, awaited => "a newer build, or the next try after " . Machine::time_text($next) . ',' };
}

# Fetches a path from the substituters of the machine. Nix checks the signatures, whatever nix.conf says.
sub fetch {
    my ($path) = @_;
    Machine::make_folder($Machine::config->{roots});
    my $root = System::root_of($path);
    unlink $root;
    symlink $path, $root or die "cannot make $root: $!\n";
    Machine::step();
    my $seconds = $Machine::config->{fetchSeconds};
    my @options = map { ('--option', @$_) } (
        [ 'require-sigs', 'true' ], [ 'narinfo-cache-negative-ttl', 0 ], [ 'connect-timeout', 15 ], [ 'download-attempts', 2 ],
    );
    my ($code, undef, $wrong) = Machine::run($seconds, 'nix-store', '--realise', $path, @options);
    if ($code != 0) {
        my $why =
            $wrong =~ /is not signed by any of the keys|lacks a (?:valid )?signature/ ? 'it is not signed by a trusted key'
          : $wrong =~ /No space left on device/                                       ? 'no space is left'
          : $wrong =~ /unable to download|ould(?:n't| not) (?:connect|resolve)|disabling binary cache/ ? 'a cache does not answer'
          : $wrong =~ /don't know how to build|no substituter that can build|does not exist in binary cache/ ? 'no cache has it'
          :                                                                             Machine::failure_of($code, $wrong, $seconds);
        print "nix-store: $_\n" for grep { /\S/ } split /\n/, $wrong;
        die "cannot fetch $path: $why\n";
    }
    system('sync') == 0 or die "sync failed\n";
    Machine::step();
}

# Writes the result, and removes the attempt that this result concludes. Returns the exit status.
sub conclude {
    my ($result) = @_;
    my $last = Machine::read_own('result') // {};
    my %source = map { ($_ => $Machine::config->{$_}) } qw(url project jobset job);
    my %kept = map { defined $last->{$_} ? ($_ => $last->{$_}) : () } qw(known refused);
    Machine::write_own('result', { %kept, %source, %$result, at => Machine::time_text(time) });
    Machine::remove_own('attempt') if $result->{result} =~ /^(?:updated|went-back)\z/ || ($result->{refused} && $result->{result} eq 'failed');
    print "$result->{result}: $result->{message}\n";
    return $result->{result} =~ /^(?:updated|up-to-date|busy|needs-reboot|rebooting)\z/ ? 0 : 1;
}

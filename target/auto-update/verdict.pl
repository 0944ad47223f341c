# The verdict on a NixOS switch. A deploy judges by the same rules (src/systems/nixos/verdict.ts and services.ts).
package Verdict;
use strict;
use warnings;

my %meanings = (
    1 => ': it failed before or during the activation',
    2 => ': an activation script failed',
    3 => ': systemd could not be reloaded',
);

# Judges a switch to a path by the state and the log. Returns a kind and a sentence:
#   good: the new system runs, and nothing is wrong
#   degraded, back: the old system must come back
#   fired: the guard goes back
#   lost: a reboot or a removal of the unit ended the activation
#   boot, busy: nothing was touched
sub of {
    my ($seen, $path, $boot, @log) = @_;
    my $files = $seen->{files};
    return ('fired', '') if exists $files->{fired};
    return ('lost', 'the machine was restarted during the activation') if $seen->{boot} ne $boot;
    my $code = $files->{ended};
    if (!defined $code) {
        return ('lost', 'the unit of the activation no longer exists') if $seen->{unit} eq 'gone' && !exists $files->{armed};
        return ('back', 'switch-to-configuration was killed');
    }
    my $new  = $seen->{current} eq $path;
    my $said = "switch-to-configuration ended with status $code";
    return ('boot', 'only a boot can enter the new system') if $code == 100 && !$new;
    return ('busy', "$said: another switch holds the lock of the machine") if $code == 11 && !$new;
    return ('back', $said . meaning($code, @log)) if !grep { $code == $_ } 0, 4, 100;
    return ('back', "$said, but the machine runs " . ($seen->{current} || 'no known system')) if !$new;
    my @bad = services($seen, $code == 4 ? map { /^warning: the following units failed: (.+)$/ ? split /,\s*/, $1 : () } @log : ());
    return ('degraded', "units failed: @{[ join ', ', @bad ]}") if @bad;
    return ('degraded', "$said, and no unit is failed: a reload may have failed") if $code == 4;
    return ('good', '');
}

# Returns the meaning of an exit status. A Perl version of switch-to-configuration that dies may end with any status.
# A D-Bus error in its output is therefore better evidence.
sub meaning {
    my ($code, @log) = @_;
    my $by_bus = !grep({ /^Activation script snippet / } @log) && grep { /\borg\.freedesktop\.DBus\.Error\.\w+/ } @log;
    return ": the machine's message bus (D-Bus) did not answer" if $by_bus;
    return $meanings{$code} // '';
}

# Returns the services that failed or that systemd restarts again and again. A service that was already bad before the
# switch is left out. Prints the faults of all services.
sub services {
    my ($seen, @named) = @_;
    my (%own, %bad, @order);
    for my $sample (@{ $seen->{samples} }) {
        push @order, $sample->{unit} if !$own{ $sample->{unit} };
        push @{ $own{ $sample->{unit} } }, $sample;
    }
    my $last = @{ $seen->{samples} } ? $seen->{samples}[-1]{at} : '';
    my %before = map { is_bad($_) ? ($_->{unit} => 1) : () } @{ $seen->{before} };
    for my $unit (@order) {
        my ($is_bad, $text) = fault_of($last, @{ $own{$unit} });
        next if !defined $text;
        $text .= '; the service was in trouble before the switch already' if $is_bad && $before{$unit};
        Machine::tell($text);
        $bad{$unit} = 1 if $is_bad && !$before{$unit};
    }
    $bad{$_} = 1 for @named;
    return sort keys %bad;
}

# Returns whether a service is bad, and a sentence about its samples.
sub fault_of {
    my ($last_at, @own) = @_;
    my ($first, $last) = @own[ 0, -1 ];
    my $unit = $first->{unit};
    undef $last if $last->{at} ne $last_at;
    # A service appears in the samples only after its first restart. A service that is absent from the first sample
    # had not restarted before.
    my $known = $first->{at} eq '0' ? $first->{restarts} : 0;
    my ($most) = sort { $b <=> $a } map { $_->{restarts} } @own;
    my $rise     = $most - $known;
    my $peaceful = !grep { $_->{result} ne 'success' } @own;
    return (1, "$unit failed ($last->{result})") if $last && $last->{state} eq 'failed';
    return (1, "$unit restarted $rise times after the switch") if $rise >= 2 && !$peaceful;
    return (1, "$unit waits for its next start after a failure ($last->{result})")
      if $last && $last->{state} eq 'auto-restart' && $last->{result} ne 'success';
    return (0, "$unit restarted $rise times, each time after a success") if $rise >= 2;
    return ();
}

sub is_bad { $_[0]{state} eq 'failed' || ($_[0]{state} eq 'auto-restart' && $_[0]{result} ne 'success') }

1;

# The proof that an operator can still log in to a machine after a switch. A deploy proves this by a login. The
# automatic update has no key for a login.
package Login;
use strict;
use warnings;

# Whether only an answer from Hydra was missing in the last try.
our $lacks_only_hydra;
# The last sentence about what the new system lacked.
our $lacked;

# Returns the state before a switch: the ssh server's host keys by address, and the keys that may log in. Dies if the
# ssh server shows no host key, because the update could then prove nothing after the switch.
sub before {
    my %facts = (host => host_keys(), users => user_keys());
    my @at = map { "$_->{address} port $_->{port}" } @{ $Machine::config->{ssh}{listens} };
    die "the ssh server shows no host key at @{[ join ', ', @at ]}, so an update could not prove a login\n" if !@{ $facts{host} };
    return \%facts;
}

# Returns lines `ADDRESS PORT TYPE KEY`. Each call makes one connection for each type of key. A recent ssh server
# refuses an address that makes many connections without a login. A caller therefore pauses between two calls.
sub host_keys {
    my @keys;
    for my $at (@{ $Machine::config->{ssh}{listens} }) {
        my ($code, $said) = Machine::run(60, 'ssh-keyscan', '-T', 10, '-p', $at->{port}, '--', $at->{address});
        die "the machine has no ssh-keyscan\n" if $code == 127;
        push @keys, map { /^[^#\s]\S* (\S+ \S+)/ ? "$at->{address} $at->{port} $1" : () } split /\n/, $said;
    }
    return [ sort @keys ];
}

# Returns the public keys of the user that operators log in as.
sub user_keys {
    my %keys;
    for my $file (@{ $Machine::config->{ssh}{authorizedKeys} }) {
        open my $in, '<', $file or next;
        while (my $line = <$in>) {
            $keys{"$1 $2"} = 1 if $line !~ /^\s*#/ && $line =~ /((?:ssh|ecdsa|sk)-\S+)\s+(AAAA\S+)/;
        }
    }
    return [ sort keys %keys ];
}

# Returns nothing, or a sentence about what the new system lacks. Tries for some time, because services start slowly.
sub trouble {
    my ($before) = @_;
    my $end = Machine::uptime() + $Machine::config->{ssh}{seconds};
    while (1) {
        my $trouble = lacks($before);
        $lacked = $trouble // $lacked;
        return $trouble if !defined $trouble || Machine::uptime() + $Machine::config->{ssh}{pause} >= $end;
        Machine::tell("$trouble; trying again");
        select undef, undef, undef, $Machine::config->{ssh}{pause};
    }
}

sub lacks {
    my ($before) = @_;
    $lacks_only_hydra = 0;
    my %shown = map { $_ => 1 } @{ host_keys() };
    my ($missing) = grep { !$shown{$_} } @{ $before->{host} };
    return sprintf 'its ssh server no longer shows its %3$s key at %1$s port %2$s', split / /, $missing if defined $missing;
    my %left = map { $_ => 1 } @{ user_keys() };
    my @users = @{ $before->{users} };
    return 'no key that could log in before may log in any more' if @users && !grep { $left{$_} } @users;
    # Any answer is enough: the next update can then reach Hydra.
    return undef if eval { Hydra::request('/'); 1 };
    (my $why = $@) =~ s/\n\z//;
    $lacks_only_hydra = 1;
    return $why;
}

1;

# The proof that somebody can still repair a machine after a switch. An operator proves this by a login; the automatic
# update has no operator, and no key that may log in.
package Login;
use strict;
use warnings;

# Says whether the last try missed nothing but an answer of Hydra.
our $lacks_only_hydra;
# The last sentence about what the new system lacked.
our $lacked;

# Returns what the machine shows before a switch: the host keys of its ssh server by their address, and the keys that
# may log in. Dies where the ssh server shows nothing, because the update can prove nothing afterwards.
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

# Returns the public keys of the user by whom operators log in.
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
    # Any answer will do: the next build can then come.
    return undef if eval { Hydra::request('/'); 1 };
    (my $why = $@) =~ s/\n\z//;
    $lacks_only_hydra = 1;
    return $why;
}

1;

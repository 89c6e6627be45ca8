from selma.core.seeds import derive_seed


def test_the_same_names_give_the_same_seed_on_every_machine():
    assert derive_seed(0, "images", "count", "count_0001", 0) == 633554686207190792


def test_every_name_and_the_type_of_a_name_matter():
    seeds = {
        derive_seed(0, "a", 1),
        derive_seed(1, "a", 1),
        derive_seed(0, "a", "1"),
        derive_seed(0, "a1"),
        derive_seed(0, "a", 1, 0),
    }
    assert len(seeds) == 5


def test_seeds_fit_a_signed_64_bit_integer():
    assert all(0 <= derive_seed(0, index) < 2**63 for index in range(1000))
